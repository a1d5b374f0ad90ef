"""Trainings that are stopped, or typed twice: what is said, what is kept, what is left running."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from raybench.config import Config, dump_config
from raybench.runs.artifact import load_run
from tests.cluster.processes import marked

pytestmark = [pytest.mark.ray, pytest.mark.slow]

MakeConfig = Callable[..., Config]
LONG = {"train__max_epochs": 2000, "train__early_stop__patience": 2000, "cluster__num_workers": 1}
ROOT = Path(__file__).parents[3]


class Typed:
    """A training typed in a terminal of its own; what it starts carries a mark in its environment."""

    def __init__(self, config: Config, folder: Path, *more: str) -> None:
        folder.mkdir(exist_ok=True)
        file, self.mark, self._said = folder / f"{uuid.uuid4().hex}.yaml", uuid.uuid4().hex, folder / uuid.uuid4().hex
        file.write_text(dump_config(config))
        line = [sys.executable, "-m", "raybench", "train", str(file), "--out", str(folder / "run"), *more]
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "RAY_ADDRESS": "local", "RAYBENCH_MARK": self.mark}
        with self._said.open("w") as said:
            self.process = subprocess.Popen(
                line, env=environment, start_new_session=True, stdout=subprocess.DEVNULL, stderr=said
            )

    @property
    def said(self) -> str:
        return self._said.read_text()

    def wait_for(self, there: Callable[[], object]) -> None:
        deadline = time.monotonic() + 300
        while not there():
            assert self.process.poll() is None, self.said
            assert time.monotonic() < deadline, self.said
            time.sleep(0.05)

    def left(self) -> list[int]:
        """What still runs some seconds after the end."""
        deadline = time.monotonic() + 20
        while (found := marked(f"RAYBENCH_MARK={self.mark}")) and time.monotonic() < deadline:
            time.sleep(0.2)
        return found


@pytest.fixture
def typed() -> Iterator[Callable[..., Typed]]:
    started: list[Typed] = []

    def start(*arguments: object) -> Typed:
        started.append(Typed(*arguments))  # type: ignore[arg-type]
        return started[-1]

    yield start
    for each in started:
        for pid in marked(f"RAYBENCH_MARK={each.mark}"):
            os.kill(pid, signal.SIGKILL)
        each.process.wait()


STOPS = {
    "Ctrl-C in an epoch": (signal.SIGINT, True, "epochs", 130, "kept in"),
    "SIGINT in an epoch": (signal.SIGINT, False, "epochs", 130, "kept in"),
    "SIGTERM in an epoch": (signal.SIGTERM, False, "epochs", 143, "kept in"),
    "Ctrl-C while Ray starts": (signal.SIGINT, True, "starting Ray", 130, "nothing was written to"),
    "SIGTERM in preparation": (signal.SIGTERM, False, "processors", 143, "begin again with the same command"),
}


@pytest.mark.parametrize("stop", STOPS)
def test_a_training_that_is_stopped_says_what_is_kept(
    make_config: MakeConfig, typed: Callable[..., Typed], tmp_path: Path, stop: str
) -> None:
    number, group, when, code, told = STOPS[stop]
    one = typed(make_config(**LONG), tmp_path)
    if when == "epochs":
        one.wait_for(lambda: len(list(tmp_path.glob("run/checkpoints/checkpoint_*/facts.json"))) > 1)
    else:
        one.wait_for(lambda: when in one.said)
    (os.killpg if group else os.kill)(one.process.pid, number)
    assert one.process.wait(30 if number == signal.SIGTERM else 90) == code  # Kubernetes sends SIGKILL then
    last = one.said.splitlines()[-1]
    assert told in last
    assert "--resume" in last or "nothing was written" in last
    assert "Traceback" not in one.said
    assert "***" not in one.said  # a C++ stack
    assert one.left() == []
    assert not (tmp_path / "run" / "manifest.json").exists()
    assert not (tmp_path / "run.claim").exists()


def test_of_two_trainings_into_one_place_one_is_told(
    make_config: MakeConfig, typed: Callable[..., Typed], tmp_path: Path
) -> None:
    first = typed(make_config(train__max_epochs=3, cluster__num_workers=1, train__seed=1), tmp_path)
    first.wait_for((tmp_path / "run.claim").exists)
    second = typed(make_config(train__max_epochs=3, cluster__num_workers=1, train__seed=2), tmp_path)
    assert second.process.wait(120) == 2
    told = f"is being written by `raybench train` (process {first.process.pid} on "
    assert told in second.said.splitlines()[-1]
    assert "starting Ray" not in second.said
    assert first.process.wait(300) == 0, first.said
    assert load_run(str(tmp_path / "run")).config.train.seed == 1
