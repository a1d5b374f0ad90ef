"""The verbs that make runs: ``train``, ``adopt``."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import Any, overload

from raybench.api.arguments import Frame
from raybench.api.placing import Place, Placement, default_out
from raybench.api.run import Run
from raybench.api.runs import Runs
from raybench.api.speaking import in_arguments, shown, speaks_of_arguments
from raybench.config.load import Source, load_config
from raybench.config.seeds import Seeds, parse_seeds
from raybench.progress import Progress, warn
from raybench.storage import files
from raybench.storage.places import Kind, refuse_others


@overload
def train(
    config: Source,
    *,
    seeds: None = None,
    out: Place | None = None,
    bars: Place | Frame | None = None,
    features: Place | Frame | None = None,
    resume: bool = False,
    local: bool | None = None,
    progress: bool | Progress = False,
    **changes: Any,
) -> Run: ...
@overload
def train(
    config: Source,
    *,
    seeds: Seeds,
    out: Place | None = None,
    bars: Place | Frame | None = None,
    features: Place | Frame | None = None,
    resume: bool = False,
    local: bool | None = None,
    progress: bool | Progress = False,
    **changes: Any,
) -> Runs: ...
@speaks_of_arguments
def train(
    config: Source,
    *,
    seeds: Seeds | None = None,
    out: Place | None = None,
    bars: Place | Frame | None = None,
    features: Place | Frame | None = None,
    resume: bool = False,
    local: bool | None = None,
    progress: bool | Progress = False,
    **changes: Any,
) -> Run | Runs:
    """Train a configuration (a path, a mapping or a Config) and return the finished run, or those of several ``seeds``.

    ``changes`` are keys with dots and their values, ``**{"train.lr": 1e-3}``. ``out`` is the run directory; by default
    a new one in ``runs/`` of the working directory. ``bars`` and ``features`` take the place of those of the
    configuration; a frame of them is kept in ``OUT.data``, where other data than those given are an error. Every
    instrument of a frame is in the universe. ``local``: in this process (True) or on Ray (False); by default one worker
    on little data is this process. ``seeds``: how many, from train.seed on, or a list of them; the runs lie in
    ``OUT/seed-N``, and ``score`` takes what is returned, or the folder, as one model.
    """
    from raybench.cluster.jobs import training as work

    sources = {key: "given" for key, value in (("data.bars", bars), ("data.features", features)) if value is not None}
    first = load_config(config, {**changes, **sources})
    numbers = None if seeds is None else parse_seeds(seeds, first.train.seed)
    to = os.fspath(out) if out is not None else default_out(first.model.type)
    refuse_others(to, Kind.RUN if numbers is None else Kind.RUNS, option="--out", files=True)  # before frames are kept
    with Placement(beside=to) as placed:
        put = {"data.bars": placed.bars(bars, first.data.universe), "data.features": placed.features(features)}
        put = {key: place for key, place in put.items() if place is not None}
        wanted = load_config(config, {**changes, **put})
        told: list[str] = []
        options: dict[str, Any] = {"out": to, "resume": resume, "local": local, "progress": shown(progress)}
        done: Run | Runs
        if numbers is None:
            done = Run.of(work.train(wanted, **options, warn=told.append)).told(placed.warnings)
        else:
            work.train_seeds(wanted, numbers, **options, warn=told.append)
            done = Runs.of(files.open_location(to).uri)
            done = replace(done, runs=tuple(run.told(placed.warnings) for run in done.runs))
        # what is odd about the data is in the run's warnings
        told = [*(line for line in told if line not in done.warnings), *placed.warnings]
        warn(in_arguments(line, train) for line in told)
        return done


@speaks_of_arguments
def adopt(config: Source, *, weights: Place, out: Place, progress: bool | Progress = False) -> Run:
    """Make a run in ``out`` of weights that were trained elsewhere, and return it.

    ``config`` (a path, a mapping or a Config) says the network and the data, on whose train segment its processors are
    fitted. ``weights`` are Qlib's pickled state dicts (.pkl, .pt; tensors only) or safetensors.
    """
    from raybench.cluster.jobs.adoption import adopt as work

    return Run.of(work(config, weights=os.fspath(weights), out=os.fspath(out), progress=shown(progress)))
