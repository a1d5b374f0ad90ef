"""What a search's own process hears from Ray Tune: it keeps the table of trials, and tells people."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from ray.tune import Callback, Stopper
from ray.tune.experiment import Trial

from raybench.cluster.failures import cause_of
from raybench.cluster.trial import TRIAL
from raybench.errors import DataError
from raybench.progress import Advance, Progress
from raybench.runs import artifact
from raybench.search.draws import told
from raybench.search.ledger import DONE, FAILED, RUNNING, STOPPED, Ledger, TrialRecord, trial_folder, trial_id
from raybench.search.reported import CAUSE
from raybench.storage import files

WAITING_SECONDS = 60.0  # after which people are told that no trial can begin; Ray starts a process within a few

Clock = Callable[[], float]

NAMES = {"loss": "valid loss", "ic": "IC", "rank_ic": "Rank IC"}


class Interrupted(Stopper):
    """Ends all trials, as they stand, when it is asked to."""

    def __init__(self) -> None:
        self.asked = threading.Event()

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        """Whether one trial is to end; their scheduler says that."""
        return False

    def stop_all(self) -> bool:
        """Whether all are to end."""
        return self.asked.is_set()

    def __reduce__(self) -> tuple[Callable[[], Interrupted], tuple[()]]:
        """Tune stores its settings; an event of a thread does not pickle."""
        return Interrupted, ()


class Watch(Callback):
    """Enters what Tune tells of its trials into the ledger; one line for each that begins or ends.

    Trials of ``ended`` only repeat what is known of them. ``each``: what a trial takes, in words. ``trouble``: why the
    search was ended here, None if it was not.
    """

    def __init__(
        self,
        ledger: Ledger,
        ended: Mapping[int, TrialRecord],
        metric: str,
        stop: Interrupted,
        progress: Progress,
        *,
        each: str = "1 CPU",
        clock: Clock = time.monotonic,
    ) -> None:
        self._ledger, self._ended, self._name, self._stop = ledger, dict(ended), NAMES[metric], stop
        self._progress, self._begun, self._each = progress, set[int](), each
        self._clock, self._ran, self._said = clock, clock(), False
        self.advance: Advance | None = None
        self.trouble: DataError | None = None

    def on_step_end(self, iteration: int, trials: list[Trial], **info: Any) -> None:
        """Tune looked at its trials: say so where none could run for a while, as others hold what it takes."""
        waiting = [trial for trial in trials if trial.status == Trial.PENDING]
        if not waiting or any(trial.status == Trial.RUNNING for trial in trials):
            self._ran, self._said = self._clock(), False
            return
        seconds = self._clock() - self._ran
        if seconds >= WAITING_SECONDS and not self._said:
            self._said = True
            self._progress.note(
                f"no trial could begin for {seconds:.0f} s: each takes {self._each} of one node, and no node has that "
                f"free (ray status says who holds it); {len(waiting)} wait until it has. Ctrl-C ends the search"
            )

    def __reduce__(self) -> tuple[type[Callback], tuple[()]]:
        """Tune stores its settings; nothing of this is needed to read them."""
        return Callback, ()

    def on_trial_start(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """A trial begins, or goes on after it was paused, copied or lost."""
        number, values = _of(trial)
        if number in self._ended:
            return
        known = self._ledger.records.get(number)
        if known is None:
            self._progress.note(f"trial {trial_id(number)} running: {told(values)}")
            self._ledger.put(TrialRecord(number=number, values=values, tries=1))
        elif number not in self._begun:  # by an earlier command, or one that was lost for good then
            self._progress.note(f"trial {trial_id(number)} goes on after epoch {known.epochs}: {told(values)}")
            self._ledger.change(number, status=RUNNING, error=None, tries=known.tries + 1, lost=False)
        else:
            self._ledger.change(number, values=values)
        self._begun.add(number)
        self._ledger.publish()

    def on_trial_result(
        self, iteration: int, trials: list[Trial], trial: Trial, result: dict[str, Any], **info: Any
    ) -> None:
        """A trial ended an epoch."""
        number, values = _of(trial)
        if number in self._ended or number not in self._ledger.records or CAUSE in result:
            return
        known = self._ledger.records[number]
        changed = dict(known.values) != values  # a population's
        if int(result["epoch"]) <= known.epochs and not changed:
            return  # told again
        seconds = known.seconds + float(result["seconds"])
        self._ledger.change(number, values=values, seconds=seconds, **_reached(result))
        if changed:
            self._progress.note(f"trial {trial_id(number)} goes on as a copy, with {told(values)}")
            self._ledger.publish()

    def on_trial_complete(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """A trial came to its end, was ended by its scheduler, or could not be done."""
        number, _ = _of(trial)
        result = trial.last_result or {}
        if number in self._ended or number not in self._ledger.records:
            self._advance()
            return
        if CAUSE in result:
            self._ended_as(number, FAILED, error=str(result[CAUSE]))
            return
        if "epoch" in result:
            self._check_written(number)
        if result.get("finished"):
            self._ended_as(number, DONE)
        elif not self._stop.asked.is_set():
            self._ended_as(number, STOPPED, stopped_epoch=self._ledger.records[number].epochs)

    def on_trial_recover(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """A trial was lost and is tried again."""
        number, _ = _of(trial)
        if number in self._ledger.records and number not in self._ended:
            tries = self._ledger.records[number].tries + 1
            self._ledger.change(number, tries=tries)
            self._progress.note(f"trial {trial_id(number)} was lost ({_cause(trial)}) and is tried again")

    def on_trial_error(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """A trial was lost for good."""
        number, _ = _of(trial)
        if number in self._ledger.records and number not in self._ended:
            self._ended_as(number, FAILED, error=_cause(trial), lost=True)

    def _check_written(self, number: int) -> None:
        """End the search where a trial left nothing here: what it wrote lies on another machine's disk."""
        out = self._ledger.out
        if self.trouble is None and not files.exists(files.join(trial_folder(out, number), artifact.CONFIG)):
            self.trouble = DataError(
                f"trial {trial_id(number)} was written on a node whose disk is not this one's; --out is {out}, want "
                "s3:// or a folder that all nodes share"
            )
            self._stop.asked.set()

    def _ended_as(self, number: int, status: str, **facts: Any) -> None:
        record = self._ledger.change(number, status=status, **facts)
        self._ledger.publish()
        what = {
            DONE: f"done after {record.epochs} epoch{'s' * (record.epochs != 1)}",
            STOPPED: f"stopped after epoch {record.epochs}",
            FAILED: "failed",
        }[status]
        brought = f": {record.error}" if status == FAILED else f": {self._name} {record.metric:.4f}"
        self._progress.note(f"trial {trial_id(number)} {what}{brought}")
        self._advance()

    def _advance(self) -> None:
        if self.advance is None:
            return
        best = self._ledger.best()
        text = ""
        if best is not None:
            text = f"best {self._name} {best.metric:.4f}, trial {trial_id(best.number)}: {told(best.values)}"
        self.advance(1, text)


def _of(trial: Trial) -> tuple[int, dict[str, Any]]:
    return int(str(trial)), dict(trial.config[TRIAL]["values"])


def _reached(result: Mapping[str, Any]) -> dict[str, Any]:
    metric = float(result["metric"])
    return {
        "epochs": int(result["epoch"]),
        "best_epoch": int(result["best_epoch"]),
        "metric": metric if math.isfinite(metric) else math.nan,
    }


def _cause(trial: Trial) -> str:
    """Why a trial was lost, in one line."""
    try:
        error = trial.get_pickled_error()
    except Exception:
        error = None
    return "its process is gone" if error is None else cause_of(error)
