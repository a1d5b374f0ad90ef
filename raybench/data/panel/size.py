"""How large a panel will be, told from spans, calendars and dates without reading a bar.

What a row of the panel holds depends on how its windows are gathered: its features, beside an index of windows
(``RowWindows``), six raw fields that the lags of Alpha360 are looked up in (``LagWindows``), or all 360 of them
(``FlatWindows``), which a table has and which ranking needs.
"""

from __future__ import annotations

import numpy as np

from raybench.config import Config
from raybench.config.alpha_names import ALPHA360_FIELDS
from raybench.data.bars import Bars, open_bars
from raybench.data.feature_table import FeatureTable
from raybench.data.panel.build import chain_of, ranks_features
from raybench.data.presence import count_spans, present
from raybench.data.processors.chain import Chain
from raybench.data.reading import day
from raybench.data.universe import ALL

FLOAT, INDEX, SAMPLE = 4, 13, 24
"""Bytes of a feature, of what a row has in a `WindowGrid`, and of a sample."""


def panel_bytes(config: Config, bars: Bars | None, features: FeatureTable | None) -> int:
    """Estimate what the arrays of a training's panel take, the second window included."""
    chain = chain_of(config, features, None)
    rows = _table_rows(config, features) if features is not None else _bar_rows(config, bars)
    total = rows * (SAMPLE + _row_bytes(config, chain, features))
    if config.data.feature_set.type == "alpha360" and features is None and not ranks_features(chain):
        total += (_lagged_rows(config, bars) - rows) * len(ALPHA360_FIELDS) * FLOAT
    second, second_data = config.data.second, config.data.second_data
    if second is not None and second_data is not None:
        own = config.model_copy(update={"data": second_data})
        of_second = chain_of(own, None, None)
        second_rows = _bar_rows(own, open_bars(second.bars))
        total += second_rows * _row_bytes(own, of_second, None) + rows * 8  # a sample's row in the second source
    return total


def _row_bytes(config: Config, chain: Chain, features: FeatureTable | None) -> int:
    if config.data.feature_set.type == "alpha360":
        whole = features is not None or ranks_features(chain)
        size = (len(chain.columns) if whole else len(ALPHA360_FIELDS)) * FLOAT
        index = 0
    else:
        size, index = len(chain.columns) * FLOAT, INDEX
    if config.recipe != "qlib":
        return size + index
    # windows of the learn stage are gathered from it: an index of its own, and features where it changes them
    return (2 if chain.learn_changes_features else 1) * size + 2 * index


def _range(config: Config) -> tuple[np.datetime64, np.datetime64]:
    """First and last day of the frame."""
    return day(config.data.first_date), max(day(span[1]) for span in dict(config.data.segments.items()).values())


def _bar_rows(config: Config, bars: Bars | None) -> int:
    """Rows of the universe's members between the first and the last day."""
    if bars is None:
        return 0
    first, last = _range(config)
    days, stamps_D = np.unique(bars.calendar.astype("datetime64[D]"), return_counts=True)
    inside = (first <= days) & (days <= last)
    counts_D = count_spans(present(bars, config.data.universe), days[inside])
    return int((counts_D * stamps_D[inside]).sum())


def _table_rows(config: Config, features: FeatureTable) -> int:
    first, last = _range(config)
    moments, counts = features.rows_by_date()
    days = moments.astype("datetime64[D]")
    return int(counts[(first <= days) & (days <= last)].sum())


def _lagged_rows(config: Config, bars: Bars | None) -> int:
    """Rows that lags are looked up in: whole lives of the members, and a window's rows before each."""
    if bars is None:
        return 0
    first, last = _range(config)
    members, lives, lead = set(present(bars, config.data.universe).instrument_K), bars.listed(ALL), 0
    calendar, lead = bars.calendar, config.data.step_len - 1
    begin = calendar[max(int(np.searchsorted(calendar, first)) - lead, 0)] if len(calendar) else first
    here_K = np.array([name in members for name in lives.instrument_K], bool)
    start_K = np.searchsorted(calendar, np.maximum(lives.start_K[here_K], begin), "left")
    stop_K = np.searchsorted(calendar, np.minimum(lives.last_K[here_K], last + np.timedelta64(1, "D")), "right")
    lengths_K = np.maximum(stop_K - start_K, 0)
    return int(lengths_K.sum() + lead * np.count_nonzero(lengths_K))
