"""One fit of a bench: trained and judged in a process of its own, over rows that lie in the object store.

Trained as ``raybench train`` trains in one process, with the same checkpoints: a fit that is lost with its process or
its node goes on from the last of them. Judged on the test dates as ``raybench score`` and ``evaluate`` judge.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pandas as pd
import ray
import torch

from raybench.allocator import keep_memory
from raybench.cluster.exported import TrainingGauges
from raybench.cluster.jobs.training import write_result
from raybench.cluster.own_memory import OwnMemory
from raybench.cluster.residency import ResidentRows
from raybench.cluster.resources import Workers
from raybench.comparison.fits import Fit
from raybench.comparison.on_test import Unseen, judge
from raybench.comparison.results import daily_frame, failed_row, row_of
from raybench.comparison.stitching import keep_scores
from raybench.errors import UserError
from raybench.runs import artifact
from raybench.storage.claims import held
from raybench.training import checkpoints
from raybench.training.alone import fit_alone
from raybench.training.checkpoints import Identity
from raybench.training.sources import DataFacts

PATIENCE_SECONDS = 120.0  # for the process of a bench that was killed, which writes the same run, to be gone


@dataclass(frozen=True, slots=True, kw_only=True)
class FitTask:
    """What the process of a fit is given.

    out : its run directory
    rows, facts : of train and valid
    test, unseen : rows of its test segment, and by reference what its scores are compared with
    stitched : whether its scores are kept, for those of other rolls to be put beside them
    """

    fit: Fit
    out: str
    workers: Workers
    rows: ResidentRows
    facts: DataFacts
    test: ResidentRows
    unseen: ray.ObjectRef[Unseen]
    stitched: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a fit came to: its row of the table, and what it brought by day; none where it failed."""

    row: Mapping[str, Any]
    daily: pd.DataFrame | None = None


def fit_and_judge(task: FitTask) -> Outcome:
    """Do one fit, in this process; an error of the user is what it came to."""
    fit = task.fit
    device = "cuda" if task.workers.gpu else "cpu"
    trained_before = artifact.is_finished(task.out)
    try:
        with OwnMemory() as memory, held(task.out, what="bench", patience=PATIENCE_SECONDS):
            run = _fitted(task, device)
            found = judge(run, task.test.panel(), ray.get(task.unseen), device)
            if task.stitched:
                keep_scores(task.out, found)
    except UserError as error:
        return failed(fit, " ".join(str(error).split()))
    peak = math.nan if trained_before else round(memory.peak_mib, 1)
    row = row_of(fit.name, run, found.evaluation, folder=fit.folder, roll=fit.roll, peak_memory_mib=peak)
    return Outcome(row=row, daily=daily_frame(fit.name, fit.seed, fit.roll, found.evaluation))


def failed(fit: Fit, cause: str) -> Outcome:
    """What a fit came to that failed."""
    return Outcome(row=failed_row(fit.name, fit.config, cause, folder=fit.folder, roll=fit.roll))


run_fit = ray.remote(max_calls=1)(fit_and_judge)
"""A fit as a task of Ray: its process ends with it, and what it held of memory."""


def _fitted(task: FitTask, device: str) -> artifact.StoredRun:
    """The finished run: as it was found, or trained from where it had begun."""
    config, out, facts = task.fit.config, task.out, task.facts
    if artifact.is_finished(out):
        return artifact.load_run(out, trust=True)
    began = datetime.now(UTC)
    keep_memory()
    identity = Identity.of(config, facts.fingerprint, workers=1, rows="resident")
    begun = checkpoints.newest(out, identity)
    artifact.begin_run(out, config)
    state = fit_alone(
        config,
        task.rows.panel(),
        out,
        threads=task.workers.cpus,
        device=torch.device(device),
        identity=identity,
        begun=begun,
        hear=lambda kind, value: None,
        gauges=TrainingGauges(out),
    )
    return write_result(out, config, facts, task.workers, state, began=began)
