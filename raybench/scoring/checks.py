"""What a run learned from against what it is given to score: refused where scores would be wrong, else said.

Refused: a field or column that its features read and that was there at training, bars of another frequency. Said:
history too short for whole windows, a universe much smaller than the one it was trained on.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from raybench.columns.types import Moments
from raybench.config import FeatureSet
from raybench.config.data.alpha_reach import fields_of
from raybench.config.panel_spec import PanelSpec
from raybench.errors import DataError
from raybench.feature_sets.table import FeatureTable
from raybench.feature_sets.table_columns import refuse_without_numbers
from raybench.market.bars import Bars, open_bars
from raybench.market.calendar import infer_frequency
from raybench.market.concepts import open_concepts
from raybench.panel import presence
from raybench.panel.presence import Days
from raybench.reports.text import numbered
from raybench.runs.artifact import StoredRun
from raybench.scoring.coverage import told
from raybench.scoring.inputs import ScoringSource
from raybench.training.needs import Needs, rows_needed, spacing_of, usual_instruments

OTHER_SPACING = 3.0  # times as many days from date to date: weekly is no daily data, holidays are no matter
SMALL_UNIVERSE = 0.5  # of the instruments on a date of training


def check_inputs(runs: Sequence[StoredRun], inputs: ScoringSource, days: Days) -> tuple[str, ...]:
    """Compare each run with what it is to score on ``days``; DataError if that is something else, else warnings."""
    warnings = [] if inputs.features is None else list(inputs.features.row_dates.told)
    for run in runs:
        needs = Needs.of_manifest(run.manifest, where=run.uri)
        _check_fields(run, needs, inputs)
        if needs is not None:
            where, calendar = _timed(inputs)
            what = "bars" if inputs.features is None else "features"
            _check_frequency(run, needs, where, calendar, what=what)
        _check_beside(run, None if needs is None else needs.second)
        if len(days):
            warnings += _short_history(run, inputs, days)
            warnings += _small_universe(run, needs, inputs, days)
    return tuple(dict.fromkeys(warnings))


def _check_fields(run: StoredRun, needs: Needs | None, inputs: ScoringSource) -> None:
    if inputs.features is not None:
        _check_columns(run, inputs.features)
    elif inputs.bars is not None:
        fields = () if needs is None else needs.fields
        _check_bars(run, run.config.data.feature_set, run.processors.columns, inputs.bars, fields, "--bars")


def _check_columns(run: StoredRun, features: FeatureTable) -> None:
    missing = [name for name in run.processors.columns if name not in features.readable]
    if missing:
        refuse_without_numbers(features, missing[0], f"{run.uri} was trained on")
        raise DataError(
            f"{features.uri}: no column {missing[0]}, which {run.uri} was trained on "
            f"({len(missing)} of {len(run.processors.columns)} are missing); give --features with all of them"
        )


def _check_bars(
    run: StoredRun, features: FeatureSet, columns: Sequence[str], bars: Bars, had: Sequence[str], option: str
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


def _check_frequency(run: StoredRun, needs: Needs, where: str, calendar: Moments, *, what: str) -> None:
    found, spacing = infer_frequency(calendar), spacing_of(calendar)
    if found == needs.frequency and not _other_spacing(spacing, needs.spacing):
        return
    said = found if found != needs.frequency else f"one date in {spacing:g} days"
    wanted = needs.frequency if found != needs.frequency else f"one date in {needs.spacing:g} days"
    raise DataError(
        f"{where}: has another frequency ({said}) than the {what} that {run.uri} was trained on ({wanted}); "
        f"give {what} of that frequency, or train on these"
    )


def _other_spacing(found: float, wanted: float) -> bool:
    """Say whether dates are much further apart, or closer, than they were; what was not known is no other."""
    return found > 0 and wanted > 0 and max(found, wanted) >= OTHER_SPACING * min(found, wanted)


def _check_beside(run: StoredRun, needs: Needs | None) -> None:
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


def _short_history(run: StoredRun, inputs: ScoringSource, days: Days) -> list[str]:
    """Name the days on which most instruments have less history than a whole window is made from."""
    rows = rows_needed(PanelSpec.of(run.config), run.processors.columns, from_table=inputs.features is not None)
    _, calendar = _timed(inputs)
    every = presence.days_of(calendar)
    short = days[~_mostly_full(run, inputs, calendar, days, rows)]
    if not len(short):
        return []
    full_D = _mostly_full(run, inputs, calendar, every, rows)
    first = every[full_D & (every > short[0])][:1]
    when = f"the first date with full windows is {first[0]}" if len(first) else "no date has full windows yet"
    return [
        f"{told([str(day) for day in short])}: too little history for full windows: {run.uri} reads "
        f"{numbered(rows, 'row|rows')} up to "
        f"each date, most instruments have fewer, and {when}; scores of cut windows are others, give data that begin "
        f"{numbered(rows - 1, 'date|dates')} before the first that is scored"
    ]


def _mostly_full(run: StoredRun, inputs: ScoringSource, calendar: Moments, days: Days, rows: int) -> np.ndarray:
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


def _small_universe(run: StoredRun, needs: Needs | None, inputs: ScoringSource, days: Days) -> list[str]:
    """Say that there are much fewer instruments than the run was trained on, of which ranks depend."""
    if needs is None or not needs.universe_size:
        return []
    where, _ = _timed(inputs)
    usual = usual_instruments(run.config.data.universe, inputs.bars, inputs.features, days)
    if not 0 < usual < SMALL_UNIVERSE * needs.universe_size:
        return []
    return [
        f"{where}: universe {run.config.data.universe} has {numbered(usual, 'instrument|instruments')} on a date here; "
        f"{run.uri} was trained on {needs.universe_size}"
    ]
