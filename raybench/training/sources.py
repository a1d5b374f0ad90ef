"""The data of a training, opened and checked before anything is started that takes longer than a typing error may."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from raybench.config import Config, parse_label
from raybench.config.panel_spec import PanelSpec
from raybench.errors import DataError
from raybench.feature_sets import alpha158, alpha360
from raybench.feature_sets.table import FeatureTable, open_features
from raybench.market.bars import Bars, open_bars
from raybench.market.concepts import open_concepts
from raybench.models import takes_dates
from raybench.panel import Panel
from raybench.panel.build import chain_of, fingerprint, ranges_of
from raybench.panel.reading import day, make_reader
from raybench.processors import FittedProcessors
from raybench.processors.column import in_range
from raybench.training.needs import Needs, needs_of
from raybench.training.network import fresh_model

IN_PROCESS_BYTES = 512 * 2**20  # rows up to this size are prepared by one process: a few seconds of one core


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """The opened data that a spec names, and their content key.

    columns : the features that reach a network, after the processors that choose among them
    fingerprint : equal for specs that agree on the same data, so that one panel serves them all
    """

    spec: PanelSpec
    bars: Bars | None
    features: FeatureTable | None
    columns: tuple[str, ...]
    fingerprint: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DataFacts:
    """What a run records of the data that it was trained on; ``counts``: samples of each segment."""

    processors: FittedProcessors
    counts: Mapping[str, int]
    fingerprint: str
    needs: Needs
    second_processors: FittedProcessors | None = None
    warnings: tuple[str, ...] = ()

    @classmethod
    def of(cls, panel: Panel, sources: Sources) -> DataFacts:
        """The facts of a panel."""
        return cls(
            processors=panel.processors,
            counts=panel.counts,
            fingerprint=panel.fingerprint,
            needs=needs_of(panel, sources.spec, sources.bars, sources.features),
            second_processors=panel.second_processors,
            warnings=panel.warnings,
        )


def open_sources(spec: PanelSpec) -> Sources:
    """Open what ``spec`` names and check all that needs no row of it.

    DataError or ConfigError for a path, universe, label, column or date that is not there.
    """
    bars, features, second, known = _opened(spec)
    columns = chain_of(spec, features, None).columns
    first, last = day(spec.data.first_date), max(last for _, last in ranges_of(spec).values())
    make_reader(spec, bars, features, columns, first, last, need_label=True)
    if features is None and bars is not None:
        _check_fields(spec, bars)
    if spec.data.second is not None and second is not None:
        _check_bars(second, spec.data.second.feature_set.type)
    return Sources(spec=spec, bars=bars, features=features, columns=columns, fingerprint=known)


def wants_dates(config: Config, sources: Sources) -> bool:
    """Whether the network of ``config`` takes whole dates; ConfigError if it refuses these features."""
    return takes_dates(fresh_model(config, sources.columns))


def fingerprint_now(spec: PanelSpec) -> str:
    """The content key of the data of ``spec`` as they are now; DataError if they are not there."""
    return _opened(spec)[3]


def _opened(spec: PanelSpec) -> tuple[Bars | None, FeatureTable | None, Bars | None, str]:
    bars, features = open_data(spec)
    data = spec.data
    second = None if data.second is None else open_bars(data.second.bars)
    concepts = None if data.concepts is None else open_concepts(data.concepts)
    return bars, features, second, fingerprint(spec, bars, features, concepts, second)


def _check_fields(spec: PanelSpec, bars: Bars) -> None:
    """Refuse bars without what features and label are computed from, or without a date to learn from."""
    data = spec.data
    _check_bars(bars, data.feature_set.type)
    label = parse_label(data.label).fields if "$" in data.label else ()
    missing = [name for name in label if name not in bars.fields]
    if missing:
        raise DataError(
            f"data.label reads ${missing[0]}, which {bars.uri} does not have: it has {', '.join(bars.fields)}; "
            "change data.label or import the field"
        )
    for name, (start, end) in ranges_of(spec).items():
        if not in_range(bars.calendar, (start, end)).any():
            have = f"{bars.calendar[0].astype('datetime64[D]')} to {bars.calendar[-1].astype('datetime64[D]')}"
            raise DataError(
                f"data.segments.{name} ({start} to {end}) has no date of {bars.uri}, which runs from {have}"
            )


def _check_bars(bars: Bars, feature_set: str) -> None:
    needed = alpha360.FIELDS if feature_set == "alpha360" else alpha158.FIELDS
    missing = [name for name in needed if name not in bars.fields and name != "vwap"]
    if missing:
        raise DataError(
            f"{bars.uri}: no field {', '.join(missing)}, which {feature_set} is computed from; "
            f"it has {', '.join(bars.fields)}"
        )


def open_data(spec: PanelSpec) -> tuple[Bars | None, FeatureTable | None]:
    """Open what ``data.bars`` and ``data.features`` name."""
    data = spec.data
    return (
        open_bars(data.bars) if data.bars else None,
        open_features(data.features).settled() if data.features else None,
    )
