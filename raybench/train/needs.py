"""What a run's features were made from, kept in its manifest so that scoring can tell when it gets something else.

    "data": {"fields": [...], "frequency": "day", "spacing": 1.0, "rows": 80, "universe_size": 300, "second": {...}}

Runs that were made before this was recorded have none of it, and are scored without these checks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from raybench.config import Config, FeatureSet
from raybench.config.alpha_reach import fields_of, rows_of_window
from raybench.data import presence
from raybench.data.bars import Bars, open_bars
from raybench.data.calendar import Moments, infer_frequency
from raybench.data.feature_table import FeatureTable
from raybench.data.panel import Panel
from raybench.errors import RunError

KEY = "data"  # of the manifest


@dataclass(frozen=True, slots=True, kw_only=True)
class Needs:
    """What a run needs of what it scores.

    Parameters
    ----------
    fields : of the bars, those that its features read and that were there; empty for features from a table
    frequency : such as ``day`` or ``60min``
    spacing : days from one date to the next, the median: 1 of daily data, 7 of weekly; 0 if there was one date
    rows : of history, the scored one included, that a full window is made from
    universe_size : instruments on a date of train or valid, the median
    second : of the second window, if there is one
    """

    fields: tuple[str, ...]
    frequency: str
    spacing: float
    rows: int
    universe_size: int
    second: Needs | None = None

    def to_manifest(self) -> dict[str, Any]:
        """Write it as JSON has it."""
        return {name: value for name, value in asdict(self).items() if value is not None}

    @classmethod
    def of_manifest(cls, manifest: Mapping[str, Any], *, where: str) -> Needs | None:
        """Read what ``to_manifest`` wrote into a manifest; None if that run recorded nothing."""
        return cls._of(manifest[KEY], where) if KEY in manifest else None

    @classmethod
    def _of(cls, values: Any, where: str) -> Needs:
        try:
            second = values.get("second")
            return cls(
                fields=tuple(map(str, values["fields"])),
                frequency=str(values["frequency"]),
                spacing=float(values["spacing"]),
                rows=int(values["rows"]),
                universe_size=int(values["universe_size"]),
                second=None if second is None else cls._of(second, where),
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise RunError(f"{where}: {KEY!r} of manifest.json cannot be read ({error}); train again") from None


def measure_needs(
    config: Config,
    bars: Bars | None,
    features: FeatureTable | None,
    columns: Sequence[str],
    second_columns: Sequence[str] = (),
) -> Needs:
    """Measure what a training reads; ``columns`` are those that reach the network."""
    data = config.data
    calendar = bars.calendar if features is None and bars is not None else _dates(features)
    second = data.second
    return Needs(
        fields=() if features is not None or bars is None else _read(data.feature_set, columns, bars),
        frequency=infer_frequency(calendar),
        spacing=spacing_of(calendar),
        rows=rows_needed(config, columns, from_table=features is not None),
        universe_size=_universe_size(config, bars, features, calendar),
        second=None
        if second is None
        else _second(open_bars(second.bars), second.feature_set, second_columns, second.step_len),
    )


def needs_of(panel: Panel, config: Config, bars: Bars | None, features: FeatureTable | None) -> Needs:
    """Measure what the training of a panel reads."""
    second = () if panel.second_processors is None else panel.second_processors.columns
    return measure_needs(config, bars, features, panel.columns, second)


def rows_needed(config: Config, columns: Sequence[str], *, from_table: bool) -> int:
    """Rows of history that a full window is made from, out of bars, or of a table whose rows are features already."""
    data = config.data
    if from_table:
        return 1 if data.feature_set.type == "alpha360" else data.step_len
    return rows_of_window(data.feature_set, columns, data.step_len)


def _second(bars: Bars, features: FeatureSet, columns: Sequence[str], step_len: int) -> Needs:
    return Needs(
        fields=_read(features, columns, bars),
        frequency=infer_frequency(bars.calendar),
        spacing=spacing_of(bars.calendar),
        rows=rows_of_window(features, columns, step_len),
        universe_size=len(bars.instruments),
    )


def spacing_of(calendar: Moments) -> float:
    """Days from one date to the next, the median; 0 if there is one date only."""
    days = presence.days_of(calendar)
    return float(np.median(np.diff(days).astype(np.int64))) if len(days) > 1 else 0.0


def _read(features: FeatureSet, columns: Sequence[str], bars: Bars) -> tuple[str, ...]:
    return tuple(name for name in fields_of(features, columns) if name in bars.fields)


def _dates(features: FeatureTable | None) -> Moments:
    assert features is not None, "the schema asks for bars or a table"
    return features.dates()


def _universe_size(config: Config, bars: Bars | None, features: FeatureTable | None, calendar: Moments) -> int:
    segments = config.data.segments
    first, last = np.datetime64(segments.train[0], "D"), np.datetime64(segments.valid[1], "D")
    days = presence.days_of(calendar)
    days = days[(first <= days) & (days <= last)]
    if not len(days):
        return 0
    if bars is not None:
        counts = presence.count_spans(presence.present(bars, config.data.universe), days)
    else:
        assert features is not None
        counts = presence.count_rows(features, days)
    return int(np.median(counts))
