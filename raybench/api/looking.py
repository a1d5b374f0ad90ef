"""The verbs that look at runs: ``compare``, ``explain``, ``export``."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from raybench.api.arguments import Frame, Models, address, address_of_run, addresses_of, date_text
from raybench.api.placing import Place, Placement
from raybench.api.speaking import in_arguments, shown, speaks_of_arguments
from raybench.columns.frames import is_frame
from raybench.columns.moments import Moment
from raybench.errors import ArgumentError
from raybench.market.universe import ALL
from raybench.progress import Progress

if TYPE_CHECKING:  # they load Ray or torch
    from raybench.cluster.jobs.explaining import ExplanationResult
    from raybench.comparison.job import Comparison
    from raybench.scoring.onnx import OnnxExport


@speaks_of_arguments
def compare(
    *models: Models,
    out: Place | None = None,
    bars: Place | None = None,
    features: Place | None = None,
    trust: bool = False,
    progress: bool | Progress = False,
) -> Comparison:
    """Compare finished runs: figures on the test dates that all have, paired tests, what differs between them.

    ``models``: two or more runs, what ``train`` returned, or addresses, of folders of seeds and of searches and
    benchmarks, too. ``bars`` and ``features`` say where data lie now that were elsewhere when the runs were trained.
    With ``out`` a report is published there. ``trust``: the runs may bring code.
    """
    from raybench.comparison.job import compare_runs

    given = [each for model in models for each in (model if isinstance(model, (list, tuple)) else [model])]
    done = compare_runs(
        [address_of_run(model) for model in given],
        out=address(out),
        bars=address(bars),
        features=address(features),
        trust=trust,
        progress=shown(progress),
    )
    return replace(done, warnings=tuple(in_arguments(line, compare) for line in done.warnings))


@speaks_of_arguments
def explain(
    model: Models | None = None,
    bars: Place | Frame | None = None,
    date: Moment | None = None,
    *,
    models: Models | None = None,
    features: Place | Frame | None = None,
    out: Place | None = None,
    start: Moment | None = None,
    end: Moment | None = None,
    instruments: Sequence[str] = (),
    repeats: int = 5,
    seed: int = 0,
    concepts: Place | None = None,
    second: Place | None = None,
    local: bool = True,
    trust: bool = False,
    progress: bool | Progress = False,
) -> ExplanationResult:
    """Explain what a run does on a date, from datasets or frames, and publish tables and a report in ``out``.

    ``model``, also called ``models``: a run or its address. ``out`` is by default a new temporary folder, which stays.
    The rest is as the command has it.
    """
    from raybench.cluster.jobs.explaining import explain as work
    from raybench.runs.artifact import load_run

    named = addresses_of(model, models)
    if len(named) != 1:
        raise ArgumentError(f"model= are {len(named)} runs; one run is explained at a time")
    if date is None:
        raise ArgumentError("date= is missing: the date to explain")
    with Placement() as placed:
        done = work(
            named[0],
            bars=placed.bars(bars, load_run(named[0], trust=trust).config.data.universe if is_frame(bars) else ALL),
            features=placed.features(features),
            concepts=address(concepts),
            second=address(second),
            date=date_text(date, "date") or "",
            out=tempfile.mkdtemp(prefix="raybench-") if out is None else os.fspath(out),
            start=date_text(start, "start"),
            end=date_text(end, "end"),
            instruments=instruments,
            repeats=repeats,
            seed=seed,
            local=local,
            trust=trust,
            progress=shown(progress),
        )
        told = (*placed.warnings, *done.warnings)
        return replace(done, warnings=tuple(placed.said(in_arguments(line, explain)) for line in told))


@speaks_of_arguments
def export(
    model: Models | None = None, to: Place | None = None, *, format: str = "onnx", trust: bool = False
) -> OnnxExport:
    """Write the network of a run, or of its address, to the file ``to``, for programs without raybench.

    ``format`` is onnx: one file, whose scores were compared with the network's. ``trust``: the run may bring code.
    """
    from raybench.scoring.onnx import export_onnx

    named = addresses_of(model, None)
    if len(named) != 1:
        raise ArgumentError(f"model= are {len(named)} runs; one network is written at a time")
    if to is None:
        raise ArgumentError("to= is missing: the file to write")
    if format != "onnx":
        raise ArgumentError(f"format={format!r} is not known; want 'onnx'")
    return export_onnx(named[0], to=os.fspath(to), trust=trust)
