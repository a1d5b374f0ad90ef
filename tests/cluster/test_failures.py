"""What a user causes inside a worker ends the training at once, as itself; what is lost besides costs nothing."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import ray
from ray.exceptions import RayTaskError
from ray.train import ControllerError, WorkerGroupError

from raybench.cluster.failures import EndsOnUserErrors, as_told, user_error
from raybench.cluster.jobs import training
from raybench.cluster.journal import Journal
from raybench.config import Config, dump_config, load_config
from raybench.errors import ConfigError, DataError, RaybenchError, ResourceError, RunError, TrainingError, UserError
from raybench.training import checkpoints
from tests.cluster.processes import ours
from tests.cluster.trained import assert_same_training
from tests.cluster.watch import Watch

MakeConfig = Callable[..., Config]
CASES = {
    "nan at once": ("nan", 1, 1, -1, TrainingError, r"not finite in epoch 1.*train\.lr"),
    "nan later, two workers": ("nan", 2, 2, -1, TrainingError, r"not finite in epoch 2.*train\.lr"),
    "a configuration, one of two workers": ("config", 2, 1, 1, ConfigError, "refused by the worker; want nothing"),
    "data, later": ("data", 1, 2, 0, DataError, "gone in the middle; bring them back"),
}


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_a_user_error_of_a_worker_ends_the_training_at_once(
    local_ray: None, make_config: MakeConfig, tmp_path: Path, case: str
) -> None:
    what, workers, epoch, rank, kind, told = CASES[case]
    tree = make_config(cluster__num_workers=workers, train__max_epochs=3).model_dump(by_alias=True)
    tree["model"] = {"type": "tests.cluster.failing_network:Fails", "log": str(tmp_path / "log"), "what": what}
    tree["model"] |= {"epoch": epoch, "rank": rank}
    began = time.monotonic()
    with pytest.raises(kind, match=told):
        training.train(load_config(tree), out=str(tmp_path / "run"))
    assert time.monotonic() - began < 300  # torch waits 600 s for a lost peer
    tried = (tmp_path / "log").read_text().split()
    assert len(set(tried)) == (workers if rank == -1 else 1)  # each process once: nothing was tried again
    assert not (tmp_path / "run" / "manifest.json").exists()
    assert checkpoints.finished_epochs(str(tmp_path / "run")) == epoch - 1


@pytest.mark.ray
@pytest.mark.slow
def test_an_error_on_one_batch_is_tried_again(local_ray: None, make_config: MakeConfig, tmp_path: Path) -> None:
    def config(log: str) -> Config:
        tree = make_config(cluster__num_workers=1, train__max_epochs=3).model_dump(by_alias=True)
        tree["model"] = {"type": "tests.cluster.failing_network:Fails", "log": str(tmp_path / log), "what": "once"}
        tree["model"] |= {"epoch": 2}
        return load_config(tree)

    watch = Watch(0, lambda: None)
    broken = training.train(config("log"), out=str(tmp_path / "broken"), local=False, progress=watch)
    assert len((tmp_path / "log").read_text().split()) == 1
    assert [note for note in watch.notes if re.search(r"worker 0 of 1 \(.*\) is lost: RuntimeError: boom", note)]
    (tmp_path / "was").touch()  # it fails no more
    assert_same_training(broken, training.train(config("was"), out=str(tmp_path / "whole"), local=True))


@pytest.mark.ray
@pytest.mark.slow
def test_what_the_command_says_of_errors_in_workers(
    make_config: MakeConfig, make_run: Callable[[Config], str], market_bars: str, tmp_path: Path
) -> None:
    """In a process of its own: one line each, 2 for what the user can put right, 1 after the last try of what not."""

    def failing(what: str) -> Config:
        tree = make_config(cluster__num_workers=2, cluster__max_failures=1, data__embargo=2).model_dump(by_alias=True)
        tree["model"] = {"type": "tests.cluster.failing_network:Fails", "log": str(tmp_path / what), "what": what}
        return load_config(tree)

    lines = []
    for what in ("data", "error"):
        (tmp_path / f"{what}.yaml").write_text(dump_config(failing(what)))
        lines.append(["train", str(tmp_path / f"{what}.yaml"), "--out", str(tmp_path / f"{what} run"), "--quiet"])
    lines.append(["score", "--model", make_run(failing("scoring data")), "--bars", market_bars, "--to"])
    lines[-1] += [str(tmp_path / "scores"), "--start", "2015-12-14", "--ray", "--trust", "--quiet"]
    environment = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    command = [sys.executable, "-m", "tests.cli.typed", json.dumps(lines)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300)
    assert done.returncode == 0, done.stderr
    (first, _, said), (second, _, gave_up), (third, _, of_scores) = json.loads(done.stdout.splitlines()[-1])
    assert (first, said) == (2, "error: bars: gone in the middle; bring them back\n")
    assert (third, of_scores) == (first, said)
    assert second == 1
    assert re.fullmatch(
        r"error: training failed more than cluster\.max_failures = 1 times, the last time of: RuntimeError: boom; .*\n",
        gave_up,
    )
    tried = {what: set((tmp_path / what).read_text().split()) for what in ("data", "error", "scoring data")}
    assert len(tried["data"]) in (1, 2)  # the two workers of one try: the first may end the other
    assert len(tried["error"]) in (2, 3, 4)
    assert len(tried["scoring data"]) <= 3  # each process of the pool at most once
    assert not list(tmp_path.glob("* run/manifest.json"))
    assert not list(tmp_path.glob("scores/date=*"))


@pytest.mark.ray
@pytest.mark.slow
def test_a_training_outlives_the_process_that_gathers_progress(
    local_ray: None, make_config: MakeConfig, tmp_path: Path
) -> None:
    def kill() -> None:
        os.kill(ours("ray::_Journal")[0], signal.SIGKILL)

    watch = Watch(1, kill)
    run = training.train(
        make_config(cluster__num_workers=1, train__max_epochs=4), out=str(tmp_path / "run"), progress=watch
    )
    assert watch.called
    assert len(run.history) == 4


@pytest.mark.ray
@pytest.mark.slow
def test_a_journal_that_is_gone_for_good_is_told_of_once(local_ray: None) -> None:
    heard: list[str] = []
    watch, journal = Watch(0, lambda: None), Journal()
    with journal.listening(lambda kind, value: heard.append(kind), watch):
        journal.add("step", 1)
        deadline = time.monotonic() + 30
        while not heard and time.monotonic() < deadline:
            time.sleep(0.05)
        ray.kill(journal._actor, no_restart=True)
        while not watch.notes and time.monotonic() < deadline:
            time.sleep(0.05)
        journal.add("step", 2)
    assert heard == ["step"]
    assert watch.notes == ["the process that gathers progress is gone: the training goes on without showing any"]


def group_error(**failures: Exception) -> WorkerGroupError:
    return WorkerGroupError("boom", dict(enumerate(failures.values())))


FULL = OSError(28, "No space left on device")


@pytest.mark.parametrize(
    ("error", "kind", "told"),
    [
        (ControllerError(DataError("no bars")), DataError, "no bars"),
        (group_error(a=RuntimeError("x"), b=RunError("bad run")), RunError, "bad run"),
        (ControllerError(FULL), RunError, "run: cannot be written: No space left on device; make room.*--resume"),
        (group_error(a=FULL), RunError, "run: cannot be written"),
        (group_error(a=RuntimeError("x")), RaybenchError, r"more than cluster\.max_failures = 3 times"),
        (
            ControllerError(RuntimeError("x")),
            RaybenchError,
            "training failed in Ray Train's controller: RuntimeError: x.*--resume",
        ),
    ],
)
def test_what_people_are_told(error: Exception, kind: type[Exception], told: str) -> None:
    found = as_told(error, out="run", max_failures=3)  # type: ignore[arg-type]
    assert type(found) is kind
    with pytest.raises(kind, match=rf"(?s){told}"):
        raise found


def test_workers_that_find_no_room_are_not_called_failures() -> None:
    from ray.train.v2._internal.exceptions import WorkerGroupStartupTimeoutError

    found = as_told(ControllerError(WorkerGroupStartupTimeoutError(2)), out="run", max_failures=3)
    assert isinstance(found, ResourceError)
    assert "--resume" in str(found)


def test_a_user_error_is_found_behind_what_is_around_it() -> None:
    cause = DataError("no bars")
    around = RuntimeError("boom")
    around.__cause__ = RayTaskError("f", "traceback", cause)
    assert user_error(around) is cause
    around.__cause__.__cause__ = around  # a circle
    assert user_error(RuntimeError("boom")) is None


def test_the_controller_raises_user_errors_and_a_full_disk_and_nothing_else() -> None:
    ends = EndsOnUserErrors()
    ends.after_exception(None, {0: RuntimeError("connection reset")})
    with pytest.raises(UserError, match="mine"):
        ends.after_exception(None, {0: RuntimeError("connection reset"), 1: TrainingError("mine")})
    with pytest.raises(OSError, match="No space left"):
        ends.after_exception(None, {0: FULL})
    ends.after_exception(None, {0: OSError(5, "Input/output error")})
