"""One training as a trial of Ray Tune: in the trial's own process, or, of several workers, driven by it.

A trial is a training into a run directory of its own: what is there is gone on from, by a trial that was lost and is
tried again as by a search that goes on. What it had reported before is then reported again, epoch by epoch, so that a
scheduler which begins anew knows what the one before it knew. Tune is given checkpoints as well where a scheduler
copies or pauses trials. A scheduler that ends a trial does so inside ``report``. Of a pretraining nothing is told.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from ray import tune
from ray.tune import Checkpoint

from raybench.allocator import keep_memory
from raybench.cluster.exported import TrainingGauges
from raybench.cluster.preparation import TrainingData
from raybench.cluster.resources import Workers
from raybench.config import Config
from raybench.config.panel_spec import PanelSpec
from raybench.config.schema import Metric
from raybench.errors import UserError
from raybench.feeds.world import SOLO
from raybench.progress import SILENT
from raybench.runs import artifact
from raybench.search.draws import trial_config
from raybench.search.ledger import FAILED, TrialRecord, trial_folder
from raybench.search.reported import OWN_EPOCH, fatal_metrics, replayed, state_metrics
from raybench.storage import rooms
from raybench.storage.claims import Ticket
from raybench.training import checkpoints
from raybench.training.checkpoints import Identity
from raybench.training.optimization import with_options
from raybench.training.rank import fit_rank
from raybench.training.state import EpochRecord, TrainState

TRIAL = "trial"
"""Where a trial of Tune has its ``number`` and ``values``. A population gives it those of another, but not its name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchTask:
    """What all trials of a search have in common.

    config : the configuration whose keys are searched
    panels : resident rows by the key of their specs
    hands_over : whether Tune is given checkpoints, as schedulers need that copy trials or pause them
    ended : trials that an earlier command saw the end of, which only report what they had come to
    claim : by which trials know whether the search still has its folder
    """

    config: Config
    out: str
    panels: Mapping[str, TrainingData]
    workers: Workers
    hands_over: bool = False
    ended: Mapping[int, TrialRecord] = field(default_factory=dict)
    claim: Ticket | None = None

    @property
    def metric(self) -> Metric:
        """What is searched by."""
        return self.config.tune.metric


def run_trial(space: Mapping[str, Any], task: SearchTask) -> None:
    """Fit the configuration that ``space`` stands for into the trial's folder, telling Tune of every epoch.

    An error that would come again ends the trial as its result; any other is raised, and Tune tries again.
    """
    begun = _begun_with(space, task)
    if begun is None:
        return
    out, config = begun
    data = task.panels[PanelSpec.of(config).key]
    identity = Identity.of(config, data.facts.fingerprint, workers=1, rows="resident")
    reporter = TrialReporter(out, identity, config, task.metric, hands_over=task.hands_over, claim=task.claim)
    try:
        state = _begun(out, identity, config, reporter, hands_over=task.hands_over)
        if state is not None and state.finished:
            return
        artifact.begin_run(out, config)
        keep_memory()
        torch.set_num_threads(task.workers.cpus)
        fit_rank(
            config,
            data.facts.processors.columns,
            reporter.gauges.watching(data.rows.feeds),
            world=SOLO,
            device=torch.device("cuda" if task.workers.gpu else "cpu"),
            state=state,
            reporter=reporter,
            progress=SILENT,
        )
    except UserError as cause:
        reporter.fatal(cause)


class TrialReporter:
    """What a trial keeps, and tells Tune, after every epoch; and why it failed where trying again would not help."""

    def __init__(
        self,
        out: str,
        identity: Identity,
        config: Config,
        metric: Metric,
        *,
        hands_over: bool = False,
        claim: Ticket | None = None,
    ) -> None:
        self._out, self._identity, self._metric, self._hands_over = out, identity, metric, hands_over
        self._claim = claim
        self._options = config.train
        self._told = False
        self.gauges = TrainingGauges(out)

    def asked_to_stop(self, record: EpochRecord) -> bool:
        """A scheduler does not ask, it ends the process."""
        return False

    def report(self, state: TrainState) -> None:
        """Keep a checkpoint of the epoch in the trial's folder, and give Tune its metrics.

        SupersededError where the search's folder is somebody else's by now, and no checkpoint.
        """
        if self._claim is not None:
            self._claim.check()
        checkpoints.publish(self._out, state, self._identity)
        self.gauges.show(state.history[-1])
        self.tell(state)

    def tell(self, state: TrainState) -> None:
        """Give Tune the metrics of the last epoch, and its checkpoint where a scheduler needs one.

        Of a pretraining it is told nothing: that has no metric, and is as long as it is.
        """
        metrics = state_metrics(state, self._metric)
        if not metrics[OWN_EPOCH]:
            return
        if not self._hands_over:
            tune.report(metrics)
            return
        with rooms.room(rooms.CHECKPOINT) as folder:
            checkpoints.write(Path(folder), state, self._identity)
            tune.report(metrics, checkpoint=Checkpoint.from_directory(folder))

    def tell_again(self, state: TrainState) -> None:
        """Tell Tune of every epoch that was reached before; only of the last where it comes with a checkpoint."""
        for metrics in [] if self._hands_over else list(replayed(state, self._options, self._metric))[:-1]:
            tune.report(metrics)
        self.tell(state)

    def fatal(self, cause: UserError) -> None:
        """End the trial with its cause as its result; Tune tries again what is raised, and this would come again.

        Its metrics are NaN: a search compares those of all trials.
        """
        if not self._told:  # by the loop, which raises it afterwards
            self._told = True
            tune.report(fatal_metrics(str(cause), type(cause).__name__))


def _begun(
    out: str, identity: Identity, config: Config, reporter: TrialReporter, *, hands_over: bool
) -> TrainState | None:
    """Where this trial stands: at what a scheduler gave it, or at what its folder holds, of which Tune is told."""
    given = tune.get_checkpoint()
    if given is not None:
        with given.as_directory() as folder:
            state, there = checkpoints.read(folder), checkpoints.identity_of(folder)
        if _adopted(state, there, identity, config):  # another trial's, copied by the scheduler
            checkpoints.prune(out, ())
            checkpoints.publish(out, state, identity)
            if state.finished:  # it ended while it was copied: nothing is left to be trained
                reporter.tell(state)
        return state
    found = checkpoints.newest_state(out) if hands_over else None
    if found is not None and found[1].data == identity.data:
        _adopted(found[0], found[1], identity, config)
        reporter.tell(found[0])
        return found[0]
    beginning = checkpoints.newest(out, identity)
    if beginning.uri is None:
        return None
    state = checkpoints.read(beginning.uri)
    reporter.tell_again(state)
    return state


def _begun_with(space: Mapping[str, Any], task: SearchTask) -> tuple[str, Config] | None:
    """The folder and the configuration of a trial; None where all is said, as it ended before or cannot begin."""
    number, values = int(tune.get_context().get_trial_name()), dict(space[TRIAL]["values"])
    out, before = trial_folder(task.out, number), task.ended.get(number)
    try:
        config = trial_config(task.config, values)
    except UserError as cause:  # a combination of values that is not valid, and would not be again
        tune.report(fatal_metrics(str(cause), type(cause).__name__))
        return None
    if before is not None:
        _tell_again(out, config, before, task.metric)
        return None
    return out, config


def _adopted(state: TrainState, there: Identity, identity: Identity, config: Config) -> bool:
    """Have a state that was reached with other values go on with these; whether they were others."""
    if there.config == identity.config:
        return False
    with_options(state, float(there.config["train.lr"]), config.train)
    return True


def _tell_again(out: str, config: Config, before: TrialRecord, metric: Metric) -> None:
    """Report what a trial that has ended came to."""
    if before.status == FAILED:
        tune.report(fatal_metrics(str(before.error), "UserError"))
        return
    found = checkpoints.newest_state(out)
    for metrics in [] if found is None else replayed(found[0], config.train, metric, until=before.epochs):
        tune.report(metrics)


def run_wide_trial(space: Mapping[str, Any], task: SearchTask) -> None:
    """As :func:`run_trial` for a training of several workers, which are Ray Train's; this process only drives them.

    Ray Train starts workers again that die, and Tune starts this process again.
    """
    from raybench.cluster.fitting import fit_on_workers
    from raybench.cluster.wide import Passing

    told = _begun_with(space, task)
    if told is None:
        return
    out, config = told
    data = task.panels[PanelSpec.of(config).key]
    identity = Identity.of(config, data.facts.fingerprint, workers=task.workers.number, rows="resident")
    reporter = TrialReporter(out, identity, config, task.metric)
    try:
        begun = checkpoints.newest(out, identity)
        if begun.uri is not None:
            reporter.tell_again(checkpoints.read(begun.uri))
            if begun.finished:
                return
        artifact.begin_run(out, config)
        fit_on_workers(
            config,
            data,
            task.workers,
            out,
            identity=identity,
            begun=begun,
            progress=SILENT,
            metric=task.metric,
            claim=task.claim,
            callbacks=[Passing(OWN_EPOCH)],
        )
    except UserError as cause:
        reporter.fatal(cause)
