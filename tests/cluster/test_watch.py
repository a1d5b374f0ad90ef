"""What is told of trials on the terminal, and entered into their table: without Ray running."""

from __future__ import annotations

import io
import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from raybench.cli.progress_bars import LineProgress
from raybench.cluster.trial import TRIAL
from raybench.cluster.watch import WAITING_SECONDS, Interrupted, Watch
from raybench.search.ledger import DONE, FAILED, RUNNING, STOPPED, Ledger
from raybench.search.reported import fatal_metrics


class Clock:
    """Time that passes when told to."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Heard:
    """A search of four trials that somebody watches at a terminal."""

    def __init__(self, out: Path) -> None:
        self.clock, self.stream, self.stop = Clock(), io.StringIO(), Interrupted()
        self.ledger = Ledger(out=str(out), keys=["train.lr"], mode="max")
        progress = LineProgress(self.stream, every=1.0, clock=self.clock)
        self.watch = Watch(self.ledger, {}, "rank_ic", self.stop, progress, each="2 CPUs", clock=self.clock)
        self.bar = progress.track("trials", 4, alike=True)

    def __enter__(self) -> Heard:
        self.watch.advance = self.bar.__enter__()
        return self

    def __exit__(self, *raised: object) -> None:
        self.bar.__exit__(None, None, None)

    def begin(self, number: int, lr: float) -> Any:
        trial = Tried(number, lr)
        self.watch.on_trial_start(0, [], trial)  # type: ignore[arg-type]
        (Path(self.ledger.out) / "trials" / f"{number:04d}").mkdir(parents=True, exist_ok=True)
        (Path(self.ledger.out) / "trials" / f"{number:04d}" / "config.yaml").touch()
        return trial

    def report(self, trial: Any, epoch: int, metric: float, **more: Any) -> None:
        self.clock.now += 10.0
        trial.last_result = {"epoch": epoch, "seconds": 10.0, "metric": metric, "best_epoch": epoch, **more}
        self.watch.on_trial_result(0, [], trial, trial.last_result)

    def end(self, trial: Any) -> None:
        self.watch.on_trial_complete(0, [], trial)

    @property
    def lines(self) -> list[str]:
        return self.stream.getvalue().splitlines()


class Tried:
    """A trial as Tune has it."""

    def __init__(self, number: int, lr: float) -> None:
        self.config = {TRIAL: {"number": number, "values": {"train.lr": lr}}}
        self.last_result: dict[str, Any] = {}
        self.status, self.error = "RUNNING", RuntimeError("out of memory")
        self._name = f"{number:04d}"

    def get_pickled_error(self) -> Exception:
        return self.error

    def __str__(self) -> str:
        return self._name


def test_a_line_for_each_state_the_best_with_its_keys_and_the_time_left(tmp_path: Path) -> None:
    with Heard(tmp_path) as heard:
        one, two = heard.begin(0, 1e-3), heard.begin(1, 1e-2)
        heard.report(one, 1, 0.03)
        heard.report(two, 1, 0.01)
        heard.end(two)  # as its scheduler would have it
        heard.report(one, 2, 0.05, finished=True)
        heard.end(one)
        three = heard.begin(2, 1e30)
        three.last_result = fatal_metrics("the loss is not finite", "TrainingError")
        heard.end(three)
        four = heard.begin(3, 2e-3)
        heard.watch.on_trial_recover(0, [], four)
        heard.watch.on_trial_error(0, [], four)
    assert heard.lines == [
        "trial 0000 running: lr=0.001",
        "trial 0001 running: lr=0.01",
        "trial 0001 stopped after epoch 1: Rank IC 0.0100",
        "trials: 1/4, best Rank IC 0.0300, trial 0000: lr=0.001",
        "trial 0000 done after 2 epochs: Rank IC 0.0500",
        "trials: 2/4, 15 s each, about 30 s left, best Rank IC 0.0500, trial 0000: lr=0.001",
        "trial 0002 running: lr=1e+30",
        "trial 0002 failed: the loss is not finite",
        "trial 0003 running: lr=0.002",
        "trial 0003 was lost (RuntimeError: out of memory) and is tried again",
        "trial 0003 failed: RuntimeError: out of memory",
        "trials: 4 in 30 s, best Rank IC 0.0500, trial 0000: lr=0.001",
    ]
    records = heard.ledger.records
    assert [records[n].status for n in range(4)] == [DONE, STOPPED, FAILED, FAILED]
    assert (records[0].epochs, records[0].seconds, records[1].stopped_epoch) == (2, 20.0, 1)
    assert [records[n].lost for n in range(4)] == [False, False, False, True]
    assert 3 not in heard.ledger.ended(), "what was lost is worth another try with --resume"
    assert Ledger.opened(str(tmp_path), ["train.lr"], "max").records == records


def test_a_metric_that_is_none_stays_nan(tmp_path: Path) -> None:
    with Heard(tmp_path) as heard:
        one = heard.begin(0, 1e-3)
        heard.report(one, 1, math.inf)
    assert math.isnan(heard.ledger.records[0].metric)
    assert heard.ledger.records[0].status == RUNNING


def test_trials_that_wait_for_what_others_hold_are_told_of_once(tmp_path: Path) -> None:
    with Heard(tmp_path) as heard:
        waits: Any = SimpleNamespace(status="PENDING")
        runs: Any = SimpleNamespace(status="RUNNING")

        def look(after: float, *trials: Any) -> None:
            heard.clock.now += after
            heard.watch.on_step_end(0, list(trials))

        look(WAITING_SECONDS, runs, waits)
        assert heard.lines == []
        look(WAITING_SECONDS - 1, waits, waits)
        assert heard.lines == []
        look(1, waits, waits)
        look(WAITING_SECONDS, waits, waits)
        assert len(heard.lines) == 1
        assert "no trial could begin for 60 s: each takes 2 CPUs of one node" in heard.lines[0]
        look(1, runs)
        look(WAITING_SECONDS, waits)
        assert len(heard.lines) == 2


def test_a_trial_that_left_nothing_here_ends_the_search_with_what_to_do(tmp_path: Path) -> None:
    with Heard(tmp_path) as heard:
        one = heard.begin(0, 1e-3)
        (tmp_path / "trials" / "0000" / "config.yaml").unlink()
        heard.report(one, 1, 0.1, finished=True)
        heard.end(one)
    assert heard.stop.stop_all()
    assert heard.watch.trouble is not None
    assert "trial 0000 was written on a node whose disk is not this one's" in str(heard.watch.trouble)
    assert "s3://" in str(heard.watch.trouble)


@pytest.mark.parametrize("result", [{}, fatal_metrics("it diverged", "TrainingError")])
def test_a_trial_that_came_to_nothing_says_nothing_of_disks(tmp_path: Path, result: dict[str, Any]) -> None:
    with Heard(tmp_path) as heard:
        one = heard.begin(0, 1e-3)
        (tmp_path / "trials" / "0000" / "config.yaml").unlink()
        one.last_result = result
        heard.end(one)
    assert heard.watch.trouble is None
