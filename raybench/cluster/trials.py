"""Running the trials of a search with Ray Tune, from the first to the last or to an interrupt."""

from __future__ import annotations

import logging
import os
import random
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ray import tune
from ray.tune.execution import class_cache
from ray.tune.search import Searcher

from raybench.cluster.resources import held_back
from raybench.cluster.search import Proposals, hands_over, make_scheduler
from raybench.cluster.session import capacity
from raybench.cluster.trial import TRIAL, SearchTask, run_trial, run_wide_trial
from raybench.cluster.watch import Interrupted, Watch
from raybench.config import Config
from raybench.config.search_space import most_epochs
from raybench.config.tune import HyperBand, TpeSearch
from raybench.progress import Progress
from raybench.reports.text import numbered
from raybench.search.draws import Draw
from raybench.search.ledger import Ledger, trial_id
from raybench.search.reported import GOODNESS
from raybench.storage import files

FOLDER = "ray"
"""Tune's own files below a search; they go when it ends."""
KEPT = 4  # checkpoints of a trial that others may copy: one that is being copied must not go
DRIVER_CPUS = 0.01  # of a process that only drives workers; Tune wants more than nothing
PATIENCE_SECONDS = 20.0  # for trials to end after an interrupt
SECRETS = {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SECURITY_TOKEN", "AWS_SESSION_TOKEN"}
"""What Tune would give to the processes of trials in their runtime environment, which Ray writes into a log."""
_QUIET = {
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # its logs of every trial as CSV, JSON and for TensorBoard
    "TUNE_DISABLE_AUTO_CALLBACK_SYNCER": "1",
    "TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "0",
    "RAY_AIR_NEW_OUTPUT": "0",  # prints in spite of verbose=0
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Which trials there are: those drawn, or None where each is proposed after others came to something.

    ``concurrent``: how many run side by side; ``gpu``: the share of one that a trial takes.
    """

    config: Config
    drawn: Sequence[Draw] | None
    concurrent: int
    gpu: float

    @property
    def count(self) -> int:
        """How many trials there will be."""
        return self.config.tune.num_samples if self.drawn is None else len(self.drawn)

    @property
    def max_epochs(self) -> int:
        """The most epochs that a trial may have, beside those of a pretraining."""
        return most_epochs(self.config.search_space, self.config.train.max_epochs)


def run_trials(plan: Plan, task: SearchTask, ledger: Ledger, progress: Progress) -> None:
    """Run all trials but those that need not be told again; the ledger knows what became of each.

    An interrupt ends the trials, which keep their checkpoints, before it is raised.
    """
    drawn = plan.drawn
    if drawn is not None and plan.config.tune.scheduler.type == "fifo":
        drawn = [draw for draw in drawn if draw.number not in task.ended]  # nobody would compare them with others
    if drawn is not None and not drawn:
        return
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)  # it logs the traceback of every trial that is lost
    random.seed(plan.config.tune.search.seed)  # which a population is changed by
    os.environ.update({name: value for name, value in _QUIET.items() if name not in os.environ})
    class_cache.ENV_VARS_TO_PROPAGATE.difference_update(SECRETS)  # they have those of their node, as all workers do
    stop = Interrupted()
    watch = Watch(ledger, task.ended, task.metric, stop, progress, each=_each(plan, task))
    folder = files.join(task.out, FOLDER)
    files.discard(folder)
    tuner = _tuner(plan, drawn, task, ledger, watch, stop)
    try:
        with progress.track("trials", plan.count, alike=True) as advance:
            advance(plan.count - len(drawn) if drawn is not None else 0)
            watch.advance = advance
            _until_interrupted(tuner, stop)
            if watch.trouble is not None:
                raise watch.trouble
    finally:
        ledger.publish()
        files.discard(folder)


def _each(plan: Plan, task: SearchTask) -> str:
    """What a trial takes, in words."""
    gpu = f" and {plan.gpu:.3g} of a GPU" if plan.gpu else ""
    return numbered(task.workers.cpus, "CPU|CPUs") + gpu


def _until_interrupted(tuner: tune.Tuner, stop: Interrupted) -> None:
    """Fit in a thread, where Tune leaves Ctrl-C to us; after one, wait until the trials have ended."""
    failed: list[BaseException] = []

    def fit() -> None:
        try:
            tuner.fit()
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=fit, name="search", daemon=True)
    thread.start()
    try:
        while thread.is_alive():
            thread.join(0.2)
    except BaseException:
        stop.asked.set()
        thread.join(PATIENCE_SECONDS)
        raise
    if failed:
        raise failed[0]


def _tuner(
    plan: Plan, drawn: Sequence[Draw] | None, task: SearchTask, ledger: Ledger, watch: Watch, stop: Interrupted
) -> tune.Tuner:
    config, wide = plan.config, task.workers.number > 1
    wanted = config.tune
    function = run_wide_trial if wide else run_trial
    resources = (
        {"CPU": DRIVER_CPUS} if wide else {"CPU": float(task.workers.cpus), **({"GPU": plan.gpu} if plan.gpu else {})}
    )
    space: dict[str, Any] = {}
    search: Searcher | None = None
    concurrent: int | None = plan.concurrent
    if isinstance(wanted.scheduler, HyperBand) and not wide:  # it fills its brackets with trials that wait, so all must
        concurrent = None
        resources["CPU"] = held_back(task.workers.cpus, plan.gpu, plan.concurrent, capacity())
    if drawn is None:
        assert isinstance(wanted.search, TpeSearch)
        before = [ledger.records[number].values for number in sorted(ledger.records)]
        search = Proposals(config.search_space, wanted.search, before, concurrent=plan.concurrent)
    else:
        space = {TRIAL: tune.grid_search([{"number": draw.number, "values": dict(draw.values)} for draw in drawn])}
    location = files.open_location(task.out)
    return tune.Tuner(
        tune.with_resources(tune.with_parameters(function, task=task), resources),
        param_space=space,
        tune_config=tune.TuneConfig(
            metric=GOODNESS,
            mode="max",
            num_samples=wanted.num_samples if drawn is None else 1,
            max_concurrent_trials=concurrent,
            search_alg=search,
            scheduler=make_scheduler(
                wanted.scheduler, config.search_space, max_epochs=plan.max_epochs, seed=wanted.search.seed
            ),
            reuse_actors=not wide,
            trial_name_creator=_name,
            trial_dirname_creator=_name,
        ),
        run_config=tune.RunConfig(
            name=FOLDER,
            storage_path=location.path,
            storage_filesystem=location.fs,
            stop=stop,
            callbacks=[watch],
            failure_config=tune.FailureConfig(max_failures=config.cluster.max_failures),
            checkpoint_config=tune.CheckpointConfig(num_to_keep=KEPT) if hands_over(wanted.scheduler) else None,
            verbose=0,
        ),
    )


def _name(trial: Any) -> str:
    """How a trial is called, once and for all: a population later gives it the values, and number, of another."""
    if trial.custom_trial_name:
        return str(trial.custom_trial_name)
    said: Mapping[str, Any] = trial.config.get(TRIAL, {})
    return trial_id(int(said.get("number", 0)))
