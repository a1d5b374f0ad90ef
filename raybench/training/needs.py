"""What a run's features were made from, kept in its manifest so that scoring can tell when it gets something else.

    "data": {"fields": [...], "frequency": "day", "spacing": 1.0, "rows": 80, "universe_size": 300,
             "usual": {"vwap": 1.0}, "second": {...}}

Runs that were made before this was recorded have none of it, and are scored without these checks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from raybench.columns.types import Moments
from raybench.config import FeatureSet
from raybench.config.data.alpha_reach import fields_of, rows_of_window
from raybench.config.panel_spec import PanelSpec
from raybench.errors import RunError
from raybench.feature_sets.table import FeatureTable
from raybench.market.bars import Bars, open_bars
from raybench.market.calendar import infer_frequency
from raybench.panel import Panel, presence
from raybench.panel.filled import Filled

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
    universe_size : instruments on a date of train or valid, the median: with bars, or with rows of the feature table
    usual : of a field of the bars or a column of the table, the share of instruments that have a number on a date of
        train, at least; what only some have is not listed
    second : of the second window, if there is one
    """

    fields: tuple[str, ...]
    frequency: str
    spacing: float
    rows: int
    universe_size: int
    usual: Mapping[str, float] = field(default_factory=dict)
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
                usual={str(name): float(share) for name, share in values.get("usual", {}).items()},
                second=None if second is None else cls._of(second, where),
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise RunError(
                f"{where}: {KEY!r} of manifest.json cannot be read ({error}); train into another --out"
            ) from None


def measure_needs(
    spec: PanelSpec,
    bars: Bars | None,
    features: FeatureTable | None,
    columns: Sequence[str],
    filled: Filled | None,
    second_columns: Sequence[str] = (),
) -> Needs:
    """Measure what a training reads; ``columns`` are those that reach the network, ``filled`` what they are made of."""
    train = spec.data.segments.train
    data = spec.data
    calendar = bars.calendar if features is None and bars is not None else _dates(features)
    second = data.second
    return Needs(
        fields=() if features is not None or bars is None else _read(data.feature_set, columns, bars),
        frequency=infer_frequency(calendar),
        spacing=spacing_of(calendar),
        rows=rows_needed(spec, columns, from_table=features is not None),
        universe_size=_universe_size(spec, bars, features, calendar),
        usual={} if filled is None else filled.usual((np.datetime64(train[0], "D"), np.datetime64(train[1], "D"))),
        second=None
        if second is None
        else _second(open_bars(second.bars), second.feature_set, second_columns, second.step_len),
    )


def needs_of(panel: Panel, spec: PanelSpec, bars: Bars | None, features: FeatureTable | None) -> Needs:
    """Measure what the training of a panel reads."""
    second = () if panel.second_processors is None else panel.second_processors.columns
    return measure_needs(spec, bars, features, panel.columns, panel.filled, second)


def rows_needed(spec: PanelSpec, columns: Sequence[str], *, from_table: bool) -> int:
    """Rows of history that a full window is made from, out of bars, or of a table whose rows are features already."""
    data = spec.data
    if from_table:
        return 1 if data.feature_set.type == "alpha360" else data.step_len
    return rows_of_window(data.feature_set, columns, data.step_len)


def most_rows(spec: PanelSpec, columns: Sequence[str]) -> int:
    """Rows of history that are read before a date at most, those of a memory of losses among them."""
    return rows_needed(spec, columns, from_table=False) + 2 * spec.data.step_len


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


def _universe_size(spec: PanelSpec, bars: Bars | None, features: FeatureTable | None, calendar: Moments) -> int:
    segments = spec.data.segments
    first, last = np.datetime64(segments.train[0], "D"), np.datetime64(segments.valid[1], "D")
    days = presence.days_of(calendar)
    days = days[(first <= days) & (days <= last)]
    if not len(days):
        return 0
    return usual_instruments(spec.data.universe, bars, features, days)


def usual_instruments(universe: str, bars: Bars | None, features: FeatureTable | None, days: presence.Days) -> int:
    """Instruments on a date of ``days``, the median: members with bars, rows of a table, of both the fewer."""
    counts = []
    if bars is not None:
        counts.append(presence.count_spans(presence.present(bars, universe), days))
    if features is not None:
        counts.append(presence.count_rows(features, days))
    return int(np.median(np.min(counts, axis=0)))
