"""``raybench.train``, ``score``, ``evaluate``, ``explain``, ``features``: paths or frames in, objects and frames out.

A frame has one row for each instrument and datetime (see ``data.frames``). Where a command works on datasets, a frame
is put on the disk for as long as it is needed; scores that are given no place come back as a frame.
"""

from __future__ import annotations

import inspect
import os
import tempfile
import warnings
from collections.abc import Sequence
from typing import Any

import pandas as pd

from raybench.api.placing import Place, Placed, default_out
from raybench.api.run import Run
from raybench.api.speaking import in_arguments, shown, speaks_of_arguments
from raybench.config.label import DEFAULT_LABEL
from raybench.config.load import Source, load_config
from raybench.data.bars import open_bars
from raybench.data.frames import is_frame
from raybench.data.moments import Moment
from raybench.data.universe import ALL
from raybench.errors import DataError
from raybench.progress import Progress

Frame = Any
"""A frame of pandas or polars, or a series; see ``data.frames``."""


@speaks_of_arguments
def features(
    bars: Place | Frame,
    set: str = "alpha158",
    columns: Sequence[str] | None = None,
    *,
    progress: bool | Progress = False,
) -> pd.DataFrame:
    """Compute ``instrument, datetime, <features>, LABEL0`` of bars, a dataset or a frame.

    A frame has open, high, low, close, volume and perhaps vwap; rows missing on dates that other instruments have
    count as suspended. ``set`` is alpha158, alpha360 or both with a comma between them; ``columns`` keeps some of
    the features, in the set's order. Features are float32, NaN as in Qlib.
    """
    from raybench.data.features import features as compute

    frame: Any = bars if is_frame(bars) else open_bars(os.fspath(bars)).block().to_frame()
    with shown(progress).track("features", None):
        return compute(frame, set, columns)


@speaks_of_arguments
def train(
    config: Source,
    *,
    out: Place | None = None,
    bars: Place | Frame | None = None,
    features: Place | Frame | None = None,
    resume: bool = False,
    local: bool | None = None,
    progress: bool | Progress = False,
    **changes: Any,
) -> Run:
    """Train a configuration (a path, a mapping or a Config) and return the finished run.

    ``changes`` are keys with dots and their values, ``**{"train.lr": 1e-3}``. ``out`` is the run directory; by default
    a new one in ``runs/`` of the working directory. ``bars`` and ``features`` take the place of those of the
    configuration; a frame of them is kept in ``OUT.data``. Every instrument of a frame is in the universe. ``local``:
    in this process (True) or on Ray (False); by default one worker on little data is this process.
    """
    from raybench.cluster.training import train as work

    sources = {key: "given" for key, value in (("data.bars", bars), ("data.features", features)) if value is not None}
    first = load_config(config, {**changes, **sources})
    to = os.fspath(out) if out is not None else default_out(first.model.type)
    with Placed(beside=to) as placed:
        put = {"data.bars": placed.bars(bars, first.data.universe), "data.features": placed.features(features)}
        put = {key: place for key, place in put.items() if place is not None}
        wanted = load_config(config, {**changes, **put})
        return Run.of(work(wanted, out=to, resume=resume, local=local, progress=shown(progress)))


@speaks_of_arguments
def score(
    models: Any,
    *,
    bars: Place | Frame | None = None,
    features: Place | Frame | None = None,
    to: Place | None = None,
    start: Moment | None = None,
    end: Moment | None = None,
    local: bool | None = None,
    progress: bool | Progress = False,
    **options: Any,
) -> Any:
    """Score every instrument of the universe on every date, by a run or several, from datasets or frames.

    With ``to``, a score table, what was done is returned (``cluster.scoring.Scored``); without, the scores as a frame
    ``instrument, datetime, score, rank, run_id``. The dates run from the start of the run's test segment to the last
    there is. Every instrument of a frame is in the universe. Frames are scored in this process; ``options`` are those
    of the command (``overwrite``, ``since_last``, ``min_coverage``, ``concepts``, ``second``, ``trust``).
    """
    from raybench.cluster.scoring import score as work
    from raybench.score.inputs import open_runs
    from raybench.score.table import read_scores

    named = _models(models)
    with Placed() as placed:
        universe = ALL
        if bars is not None and is_frame(bars):
            universe = open_runs(named, concepts=None, second=None, trust=bool(options.get("trust")))[
                0
            ].config.data.universe
        here = True if local is None and (to is None or is_frame(bars) or is_frame(features)) else local
        target = placed.folder("scores") if to is None else os.fspath(to)
        done = work(
            named,
            bars=placed.bars(bars, universe),
            features=placed.features(features),
            to=target,
            start=_text(start),
            end=_text(end),
            local=here,
            progress=shown(progress),
            **options,
        )
        for line in done.warnings if to is None else ():
            warnings.warn(in_arguments(line, _SCORE), stacklevel=3)
        return done if to is not None else read_scores(target)


@speaks_of_arguments
def evaluate(
    scores: Place | Frame,
    bars: Place | Frame | None = None,
    *,
    label: str = DEFAULT_LABEL,
    out: Place | None = None,
    start: Moment | None = None,
    end: Moment | None = None,
    progress: bool | Progress = False,
    **options: Any,
) -> Any:
    """Evaluate scores against bars, or against labels: frames, or the addresses of datasets.

    ``scores`` is a table ``instrument, datetime, score``; ``bars`` has the fields that ``label`` reads, or a column
    ``label`` that is taken as it is. With ``out`` a report is published there too. ``options`` are those of the command
    (``model``, ``config``, ``features``) and need datasets or frames with prices.
    """
    from raybench.evaluate.evaluation import evaluate as work
    from raybench.evaluate.job import evaluate_scores

    if out is None and not options and is_frame(scores) and is_frame(bars):
        tables: tuple[Any, Any] = (scores, bars)
        return work(*tables, label=label, start=start, end=end)
    if label != DEFAULT_LABEL and "config" not in options:
        raise DataError(f"label={label!r} is for frames; with datasets config= says the label")
    with Placed() as placed:
        done = evaluate_scores(
            placed.scores(scores) or "",
            placed.bars(bars),
            features=placed.features(options.pop("features", None)),
            out=placed.folder("evaluation") if out is None else os.fspath(out),
            start=_text(start),
            end=_text(end),
            progress=shown(progress),
            **options,
        )
        return done.evaluation if out is None else done


@speaks_of_arguments
def explain(
    model: Any,
    *,
    date: Moment,
    bars: Place | Frame | None = None,
    features: Place | Frame | None = None,
    out: Place | None = None,
    start: Moment | None = None,
    end: Moment | None = None,
    local: bool = True,
    progress: bool | Progress = False,
    **options: Any,
) -> Any:
    """Explain what a run does on a date, from datasets or frames, and publish tables and a report in ``out``.

    ``out`` is by default a new temporary folder, which stays. ``options`` are those of the command (``instruments``,
    ``repeats``, ``seed``, ``concepts``, ``second``, ``trust``).
    """
    from raybench.cluster.explaining import explain as work
    from raybench.train.artifact import load_run

    (named,) = _models(model)
    with Placed() as placed:
        universe = ALL
        if bars is not None and is_frame(bars):
            universe = load_run(named, trust=bool(options.get("trust"))).config.data.universe
        return work(
            named,
            bars=placed.bars(bars, universe),
            features=placed.features(features),
            date=_text(date) or "",
            out=tempfile.mkdtemp(prefix="raybench-") if out is None else os.fspath(out),
            start=_text(start),
            end=_text(end),
            local=local,
            progress=shown(progress),
            **options,
        )


def _models(models: Any) -> list[str]:
    """Runs as addresses: a run is given as one, or as what ``train`` returned, or several of either."""
    several = models if isinstance(models, (list, tuple)) else [models]
    return [str(model.uri) if hasattr(model, "uri") else os.fspath(model) for model in several]


def _text(when: Moment | None) -> str | None:
    return None if when is None else str(when)


_SCORE = frozenset(inspect.signature(score).parameters) | {"overwrite", "min_coverage", "since_last", "concepts"}
