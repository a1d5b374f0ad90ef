"""The data of a training, opened and checked before anything is started that takes longer than a typing error may."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from raybench.config import Config, parse_label
from raybench.data import alpha158, alpha360
from raybench.data.bars import Bars, open_bars
from raybench.data.concepts import open_concepts
from raybench.data.feature_table import FeatureTable, open_features
from raybench.data.panel import Panel
from raybench.data.panel.build import chain_of, fingerprint
from raybench.data.processors import FittedProcessors
from raybench.data.processors.column import in_range
from raybench.data.reading import day, make_reader
from raybench.errors import DataError
from raybench.models import takes_dates
from raybench.train.needs import Needs, needs_of
from raybench.train.network import fresh_model

IN_PROCESS_BYTES = 512 * 2**20  # rows up to this size are prepared by one process: a few seconds of one core


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
    def of(cls, panel: Panel, config: Config, bars: Bars | None, features: FeatureTable | None) -> DataFacts:
        """The facts of a panel."""
        return cls(
            processors=panel.processors,
            counts=panel.counts,
            fingerprint=panel.fingerprint,
            needs=needs_of(panel, config, bars, features),
            second_processors=panel.second_processors,
            warnings=panel.warnings,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """The opened data of a training and their fingerprint; ``dates``: its network takes whole dates."""

    bars: Bars | None
    features: FeatureTable | None
    fingerprint: str
    dates: bool


def open_sources(config: Config) -> Sources:
    """Open what ``config`` trains on and check all that needs no row of it.

    DataError or ConfigError for a path, universe, label, column or date that is not there, or a network that refuses.
    """
    data = config.data
    bars, features, second, known = _opened(config)
    columns = chain_of(config, features, None).columns
    first, last = day(data.first_date), max(day(end) for _, (_, end) in data.segments.items())
    make_reader(config, bars, features, columns, first, last, need_label=True)
    if features is None and bars is not None:
        _check_fields(config, bars)
    if data.second is not None and second is not None:
        _check_bars(second, data.second.feature_set.type)
    return Sources(
        bars=bars,
        features=features,
        fingerprint=known,
        dates=takes_dates(fresh_model(config, columns)),
    )


def fingerprint_now(config: Config) -> str:
    """The fingerprint of the data of ``config`` as they are now; DataError if they are not there."""
    return _opened(config)[3]


def _opened(config: Config) -> tuple[Bars | None, FeatureTable | None, Bars | None, str]:
    bars, features = open_data(config)
    data = config.data
    second = None if data.second is None else open_bars(data.second.bars)
    concepts = None if data.concepts is None else open_concepts(data.concepts)
    return bars, features, second, fingerprint(config, bars, features, concepts, second)


def _check_fields(config: Config, bars: Bars) -> None:
    """Refuse bars without what features and label are computed from, or without a date of a segment."""
    data = config.data
    _check_bars(bars, data.feature_set.type)
    label = parse_label(data.label).fields if "$" in data.label else ()
    missing = [name for name in label if name not in bars.fields]
    if missing:
        raise DataError(
            f"data.label reads ${missing[0]}, which {bars.uri} does not have: it has {', '.join(bars.fields)}; "
            "change data.label or import the field"
        )
    for name, (start, end) in data.segments.items():
        if not in_range(bars.calendar, (day(start), day(end))).any():
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


def open_data(config: Config) -> tuple[Bars | None, FeatureTable | None]:
    """Open what ``data.bars`` and ``data.features`` name."""
    data = config.data
    return (
        open_bars(data.bars) if data.bars else None,
        open_features(data.features) if data.features else None,
    )
