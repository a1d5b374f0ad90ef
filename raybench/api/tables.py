"""The verbs that make tables: ``features``, ``score``, ``evaluate``.

A frame has one row for each instrument and datetime (see ``columns.frames``). Where a command works on datasets, a
frame is put on the disk for as long as it is needed; scores that are given no place come back as a frame.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pandas as pd

from raybench.api.arguments import Frame, Models, address, addresses_of, date_text
from raybench.api.placing import Place, Placement
from raybench.api.speaking import in_arguments, shown, speaks_of_arguments
from raybench.columns.frames import KEYS, is_frame, long_frame
from raybench.columns.moments import Moment
from raybench.config.data.label import DEFAULT_LABEL
from raybench.config.load import Source
from raybench.errors import ArgumentError, DataError
from raybench.market.bars import open_bars
from raybench.market.universe import ALL
from raybench.progress import Progress, warn


@speaks_of_arguments
def features(
    bars: Place | Frame,
    set: str | Sequence[str] = "alpha158",
    columns: str | Sequence[str] | None = None,
    *,
    progress: bool | Progress = False,
) -> pd.DataFrame:
    """Compute ``instrument, datetime, <features>, LABEL0`` of bars, a dataset or a frame.

    A frame has open, high, low, close, volume and perhaps vwap; rows missing on dates that other instruments have
    count as suspended. ``set`` is alpha158, alpha360 or both with a comma between them; ``columns`` keeps some of
    the features, in the set's order. Features are float32, NaN as in Qlib.
    """
    from raybench.feature_sets.build import column_names, features_of, parse_sets
    from raybench.feature_sets.build import compute_features as compute

    with shown(progress).track("features", None):
        if is_frame(bars):
            frame: Any = bars
            return compute(frame, set, columns)
        sets = parse_sets(set)
        return features_of(open_bars(os.fspath(bars)).block(), sets, column_names(sets, columns))


@speaks_of_arguments
def score(
    model: Models | None = None,
    bars: Place | Frame | None = None,
    *,
    models: Models | None = None,
    features: Place | Frame | None = None,
    to: Place | None = None,
    start: Moment | None = None,
    end: Moment | None = None,
    since_last: bool = False,
    stale: bool = False,
    min_coverage: float = 0.5,
    overwrite: bool = False,
    combine: str = "scores",
    concepts: Place | None = None,
    second: Place | None = None,
    local: bool | None = None,
    trust: bool = False,
    progress: bool | Progress = False,
) -> Any:
    """Score every instrument of the universe on every date, by a run or several, from datasets or frames.

    ``model``, also called ``models``: runs or their addresses; several become one by the mean of their standardised
    ``scores``, or of their ``ranks`` (``combine``). With ``to``, a score table, what was done is returned
    (``scoring.result.ScoringResult``); without, the scores as a frame (instrument, datetime, score, rank
    and run_id), and what was left out is warned of. The dates run from the start of the run's test segment to the last
    there is. Every instrument of a frame is in the universe. Frames are scored in this process. The rest is as the
    command has it.
    """
    from raybench.cluster.jobs.scoring import score as work
    from raybench.scoring.inputs import open_runs
    from raybench.scoring.table import read_scores

    named = addresses_of(model, models)
    with Placement() as placed:
        universe = open_runs(named, trust=trust)[0].config.data.universe if is_frame(bars) else ALL
        done = work(
            named,
            bars=placed.bars(bars, universe),
            features=placed.features(features),
            concepts=address(concepts),
            second=address(second),
            to=placed.folder("scores") if to is None else os.fspath(to),
            start=date_text(start, "start"),
            end=date_text(end, "end"),
            since_last=since_last,
            stale=stale,
            min_coverage=min_coverage,
            overwrite=overwrite,
            combine=combine,
            local=True if local is None and (to is None or is_frame(bars) or is_frame(features)) else local,
            trust=trust,
            progress=shown(progress),
        )
        told = tuple(placed.said(in_arguments(line, score)) for line in (*placed.warnings, *done.warnings))
        if to is not None:
            return replace(done, warnings=told)
        if not done.written:
            raise DataError("; ".join(told) or "no date could be scored")
        warn(told)
        return read_scores(placed.folder("scores"))


@speaks_of_arguments
def evaluate(
    scores: Place | Frame,
    bars: Place | Frame | None = None,
    *,
    label: str | Frame = DEFAULT_LABEL,
    model: Models | None = None,
    models: Models | None = None,
    config: Source | None = None,
    features: Place | Frame | None = None,
    out: Place | None = None,
    start: Moment | None = None,
    end: Moment | None = None,
    title: str | None = None,
    progress: bool | Progress = False,
) -> Any:
    """Evaluate scores against bars, or against labels: frames, or the addresses of datasets.

    ``scores`` is a table ``instrument, datetime, score``; ``bars`` has the fields that ``label`` reads, or a column
    ``label`` that is taken as it is; a series of labels may be ``label`` itself. ``model``, also called ``models``,
    is the run the scores come from, or the runs: its label is used, and the dates it learned from are left out and
    shown apart; scores of another run are refused. ``config`` says another label, ``features`` has it as a column.
    With ``out`` a report is published there too.
    """
    from raybench.evaluation.evaluation import evaluate as work
    from raybench.evaluation.job import evaluate_scores

    if scores is None:
        raise ArgumentError("scores= is missing: a table instrument, datetime, score, or the address of one")
    bars, label = _labels(bars, label)
    named = addresses_of(model, models) if model is not None or models is not None else None
    plain = out is None and named is None and config is None and features is None
    if plain and is_frame(scores) and is_frame(bars):
        tables: tuple[Any, Any] = (scores, bars)
        found = work(*tables, label=label, start=start, end=end)
        return replace(found, warnings=tuple(in_arguments(line, evaluate) for line in found.warnings))
    if label != DEFAULT_LABEL and config is None:
        raise DataError(f"label={label!r} is for frames; with datasets config= says the label")
    with Placement() as placed:
        done = evaluate_scores(
            placed.scores(scores) or "",
            placed.bars(bars),
            features=placed.features(features),
            out=placed.folder("evaluation") if out is None else os.fspath(out),
            config=config,
            model=named,
            start=date_text(start, "start"),
            end=date_text(end, "end"),
            title=title,
            shown_as=placed.said,
            progress=shown(progress),
        )
        told = tuple(in_arguments(line, evaluate) for line in (*placed.warnings, *done.warnings))
        done = replace(done, evaluation=replace(done.evaluation, warnings=told))
        return done.evaluation if out is None else done


def _labels(bars: Place | Frame | None, label: str | Frame) -> tuple[Place | Frame | None, str]:
    """Take a series or frame of labels for the table that has them, in a column ``label``."""
    if isinstance(label, str):
        return bars, label
    if bars is not None:
        raise DataError("label= is a table of labels, and bars= is given too; want one of them")
    table = long_frame(label, what="label=", series="LABEL0")
    names = [str(name) for name in table.columns if name not in KEYS]
    if len(names) != 1:
        raise DataError(f"label=: has the columns {', '.join(names) or 'of its keys alone'}; want one, the label")
    return table.rename(columns={names[0]: "label"}), DEFAULT_LABEL
