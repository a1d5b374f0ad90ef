"""What a run learned from against what it is given to score: refused where scores would be wrong, else said.

Refused: a field or column that its features read and that was there at training, bars of another frequency. Said:
history too short for whole windows, a universe much smaller than the one it was trained on.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from raybench.config import FeatureSet
from raybench.config.alpha_reach import fields_of
from raybench.data import presence
from raybench.data.bars import Bars, open_bars
from raybench.data.calendar import Moments, infer_frequency
from raybench.data.concepts import open_concepts
from raybench.data.feature_table import FeatureTable
from raybench.data.presence import Days
from raybench.errors import DataError
from raybench.score.coverage import told
from raybench.score.inputs import ScoringSource
from raybench.train.artifact import Run
from raybench.train.needs import Needs, rows_needed, spacing_of

OTHER_SPACING = 3.0  # times as many days from date to date: weekly is no daily data, holidays are no matter
SMALL_UNIVERSE = 0.5  # of the instruments on a date of training


def check_inputs(runs: Sequence[Run], inputs: ScoringSource, days: Days) -> tuple[str, ...]:
    """Compare each run with what it is to score on ``days``; DataError if that is something else, else warnings."""
    warnings: list[str] = []
    for run in runs:
        needs = Needs.of_manifest(run.manifest, where=run.uri)
        _check_fields(run, needs, inputs)
        if needs is not None:
            where, calendar = _timed(inputs)
            _check_frequency(run, needs, where, calendar, what="data")
        _check_beside(run, None if needs is None else needs.second)
        if len(days):
            warnings += _short_history(run, inputs, days)
            warnings += _small_universe(run, needs, inputs, days)
    return tuple(dict.fromkeys(warnings))


def _check_fields(run: Run, needs: Needs | None, inputs: ScoringSource) -> None:
    if inputs.features is not None:
        _check_columns(run, inputs.features)
    elif inputs.bars is not None:
        fields = () if needs is None else needs.fields
        _check_bars(run, run.config.data.feature_set, run.processors.columns, inputs.bars, fields, "--bars")


def _check_columns(run: Run, features: FeatureTable) -> None:
    missing = [name for name in run.processors.columns if name not in features.readable]
    if missing:
        raise DataError(
            f"{features.uri}: no column {missing[0]}, which {run.uri} was trained on "
            f"({len(missing)} of {len(run.processors.columns)} are missing); give --features with all of them"
        )


def _check_bars(
    run: Run, features: FeatureSet, columns: Sequence[str], bars: Bars, had: Sequence[str], option: str
) -> None:
    """Refuse bars without a field that the features cannot do without, or that were there at training."""
    needed = [name for name in fields_of(features, columns) if name != "vwap" or name in had]
    missing = [name for name in needed if name not in bars.fields]
    if missing:
        raise DataError(
            f"{bars.uri}: has no field {', '.join(missing)}, which {run.uri} was trained with and its features read; "
            f"give {option} with it, or train on bars without it"
        )


def _timed(inputs: ScoringSource) -> tuple[str, Moments]:
    """What the windows are cut from: its address and its calendar."""
    if inputs.features is not None:
        return inputs.features.uri, inputs.features.dates()
    assert inputs.bars is not None, "there is one or the other"
    return inputs.bars.uri, inputs.bars.calendar


def _check_frequency(run: Run, needs: Needs, where: str, calendar: Moments, *, what: str) -> None:
    found, spacing = infer_frequency(calendar), spacing_of(calendar)
    if found == needs.frequency and not _other_spacing(spacing, needs.spacing):
        return
    said = found if found != needs.frequency else f"one date in {spacing:g} days"
    wanted = needs.frequency if found != needs.frequency else f"one date in {needs.spacing:g} days"
    raise DataError(
        f"{where}: has another frequency ({said}) than the {what} that {run.uri} was trained on ({wanted}); "
        "give bars of that frequency, or train on these"
    )


def _other_spacing(found: float, wanted: float) -> bool:
    """Say whether dates are much further apart, or closer, than they were; what was not known is no other."""
    return found > 0 and wanted > 0 and max(found, wanted) >= OTHER_SPACING * min(found, wanted)


def _check_beside(run: Run, needs: Needs | None) -> None:
    """Open what is read beside the first window, before any work: the second's bars, the concepts."""
    data = run.config.data
    if data.concepts is not None:
        open_concepts(data.concepts)
    if data.second is None or run.second_processors is None:
        return
    bars = open_bars(data.second.bars)
    had = () if needs is None else needs.fields
    _check_bars(run, data.second.feature_set, run.second_processors.columns, bars, had, "--second")
    if needs is not None:
        _check_frequency(run, needs, bars.uri, bars.calendar, what="second window's bars")


def _short_history(run: Run, inputs: ScoringSource, days: Days) -> list[str]:
    """Name the days on which most instruments have less history than a whole window is made from."""
    rows = rows_needed(run.config, run.processors.columns, from_table=inputs.features is not None)
    _, calendar = _timed(inputs)
    every = presence.days_of(calendar)
    short = days[~_mostly_full(run, inputs, calendar, days, rows)]
    if not len(short):
        return []
    full_D = _mostly_full(run, inputs, calendar, every, rows)
    first = every[full_D & (every > short[0])][:1]
    when = f"the first date with full windows is {first[0]}" if len(first) else "no date has full windows yet"
    return [
        f"{told([str(day) for day in short])}: too little history for full windows: {run.uri} reads {rows} rows up to "
        f"each date, most instruments have fewer, and {when}; scores of cut windows are others, give data that begin "
        f"{rows - 1} dates before the first that is scored"
    ]


def _mostly_full(run: Run, inputs: ScoringSource, calendar: Moments, days: Days, rows: int) -> np.ndarray:
    """Whether at least half of those who are there on a day have ``rows`` rows by then -> [D]."""
    if inputs.bars is None or inputs.features is not None:
        last_D = np.searchsorted(calendar, (days + 1).astype("datetime64[us]"))
        enough_D: np.ndarray = last_D >= rows
        return enough_D
    universe = run.config.data.universe
    there_D = presence.count_spans(presence.present(inputs.bars, universe), days)
    full_D = presence.count_spans(presence.present(inputs.bars, universe, rows=rows), days)
    mostly_D: np.ndarray = 2 * full_D >= there_D
    return mostly_D


def _small_universe(run: Run, needs: Needs | None, inputs: ScoringSource, days: Days) -> list[str]:
    """Say that there are much fewer instruments than the run was trained on, of which ranks depend."""
    if needs is None or inputs.bars is None or not needs.universe_size:
        return []
    counts = presence.count_spans(presence.present(inputs.bars, run.config.data.universe), days)
    usual = int(np.median(counts))
    if not 0 < usual < SMALL_UNIVERSE * needs.universe_size:
        return []
    return [
        f"{inputs.bars.uri}: universe {run.config.data.universe} has {usual} instruments on a date with bars here; "
        f"{run.uri} was trained on {needs.universe_size}"
    ]
