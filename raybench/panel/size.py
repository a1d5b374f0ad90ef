"""How large a panel will be, told from spans, calendars and dates without reading a bar.

What a row of the panel holds ``config.size`` says; here rows are counted.
"""

from __future__ import annotations

import numpy as np

from raybench.columns.moments import last_of_day
from raybench.config.panel_spec import PanelSpec
from raybench.config.size import keeps_fields, row_bytes, sample_bytes
from raybench.feature_sets.table import FeatureTable
from raybench.market.bars import Bars, open_bars
from raybench.panel.build import chain_of, ranges_of
from raybench.panel.presence import count_spans, present
from raybench.panel.reading import day


def panel_bytes(spec: PanelSpec, bars: Bars | None, features: FeatureTable | None) -> int:
    """Estimate what the arrays of a training's panel take, the second window included."""
    chain = chain_of(spec, features, None)
    rows = _table_rows(spec, features) if features is not None else _bar_rows(spec, bars)
    kept = _lagged_rows(spec, bars) if keeps_fields(spec) else rows
    total = rows * sample_bytes(spec) + kept * row_bytes(spec, len(chain.columns))
    second, own = spec.data.second, spec.second
    if second is not None and own is not None:
        of_second = chain_of(own, None, None)
        total += _bar_rows(own, open_bars(second.bars)) * row_bytes(own, len(of_second.columns))
    return total


def _range(spec: PanelSpec) -> tuple[np.datetime64, np.datetime64]:
    """First and last day of the frame."""
    return day(spec.data.first_date), max(last for _, last in ranges_of(spec).values())


def _bar_rows(spec: PanelSpec, bars: Bars | None) -> int:
    """Rows of the universe's members between the first and the last day."""
    if bars is None:
        return 0
    first, last = _range(spec)
    days, stamps_D = np.unique(bars.calendar.astype("datetime64[D]"), return_counts=True)
    inside = (first <= days) & (days <= last)
    counts_D = count_spans(present(bars, spec.data.universe), days[inside])
    return int((counts_D * stamps_D[inside]).sum())


def _table_rows(spec: PanelSpec, features: FeatureTable) -> int:
    first, last = _range(spec)
    moments, counts = features.rows_by_date()
    days = moments.astype("datetime64[D]")
    return int(counts[(first <= days) & (days <= last)].sum())


def _lagged_rows(spec: PanelSpec, bars: Bars | None) -> int:
    """Rows that lags are looked up in: whole lives of the members, and a window's rows before each."""
    if bars is None:
        return 0
    first, last = _range(spec)
    members, lives = set(present(bars, spec.data.universe).instrument_K), bars.lives()
    calendar, lead = bars.calendar, spec.data.step_len - 1
    begin = calendar[max(int(np.searchsorted(calendar, first)) - lead, 0)] if len(calendar) else first
    first_N, last_N = (np.array([lives[name][k] for name in sorted(members)], "datetime64[us]") for k in (0, 1))
    start_N = np.searchsorted(calendar, np.maximum(first_N, begin), "left")
    stop_N = np.searchsorted(calendar, np.minimum(last_N, last_of_day(last)), "right")
    lengths_N = np.maximum(stop_N - start_N, 0)
    return int(lengths_N.sum() + lead * np.count_nonzero(lengths_N))
