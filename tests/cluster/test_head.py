"""A head that falls silent: what waits is interrupted, the cause told, and a cluster that answers does the rest."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path

import pytest
from ray.exceptions import GetTimeoutError

from raybench.cluster import head
from raybench.cluster.address import Answer
from raybench.cluster.jobs import training
from raybench.cluster.jobs.scoring import score
from raybench.config import Config, dump_config
from raybench.errors import DataError, ResourceError
from raybench.runs.artifact import load_run
from tests.cluster.heads import Head, guarded, head_of_its_own
from tests.cluster.scored import bytes_of, times_of
from tests.cluster.trained import assert_same_training

MakeConfig = Callable[..., Config]
MakeRun = Callable[[Config], str]
ROOT = Path(__file__).parents[2]
SILENT = Answer(problem="does not answer (connection refused)")
REFUSES = Answer(problem="does not take the authentication token of this side", foreign=True)
AT = "10.0.0.1:6379"


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(head.RAY_WAITS, "1")


def test_what_waits_is_interrupted_and_the_cause_told(soon: None) -> None:
    before, began = signal.getsignal(signal.SIGURG), time.monotonic()
    with (
        pytest.raises(head.HeadIsGoneError, match=r"head .* at 10\.0\.0\.1:6379 does not answer .*--resume") as told,
        head.watched(AT, asking=lambda address: SILENT, every=0.05),
    ):
        time.sleep(60)
    assert 1 <= time.monotonic() - began < 10
    assert isinstance(told.value.__cause__, KeyboardInterrupt)
    assert signal.getsignal(signal.SIGURG) is before


def test_an_interrupt_that_somebody_swallowed_comes_again(soon: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(head, "AGAIN_SECONDS", 0.1)
    swallowed: list[KeyboardInterrupt] = []

    def swallow() -> None:
        while True:
            try:
                time.sleep(60)
            except KeyboardInterrupt as one:
                if len(swallowed) == 2:
                    raise
                swallowed.append(one)

    with pytest.raises(head.HeadIsGoneError), head.watched(AT, asking=lambda address: SILENT, every=0.05):
        swallow()


def test_ray_is_left_even_where_that_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    held, given_up = threading.Event(), list[object]()
    monkeypatch.setattr(head, "LEAVE_SECONDS", 0.2)
    monkeypatch.setattr(head.ray, "shutdown", held.wait)
    monkeypatch.setattr(head.atexit, "unregister", given_up.append)
    head.leave_without_head()
    assert given_up == [held.wait]
    held.set()
    head.leave_without_head()
    assert len(given_up) == 1


@pytest.mark.parametrize("answers", [[SILENT] * 12 + [Answer()], [REFUSES]], ids=["comes back", "another token"])
def test_a_head_that_is_there_again_or_refuses_is_no_silent_one(soon: None, answers: list[Answer]) -> None:
    said, asked = itertools.cycle(answers), list[str]()
    began = time.monotonic()
    with head.watched(AT, asking=lambda address: asked.append(address) or next(said), every=0.05):
        time.sleep(2.5)
    assert time.monotonic() - began >= 2.5  # nothing cut it short
    assert len(asked) > len(answers)
    assert set(asked) == {AT}


def test_silence_counts_from_the_first_question_in_vain(soon: None) -> None:
    """A machine that slept for hours, and whose network takes a moment to be there."""
    said, heard = iter([Answer(), SILENT]), list[Answer]()

    def ask(address: str) -> Answer:
        answer = next(said, Answer())
        heard.append(answer)
        if not answer.problem:
            time.sleep(1.5)  # for which nothing was heard
        return answer

    began = time.monotonic()
    with head.watched(AT, asking=ask, every=0.05):
        time.sleep(3.5)
    assert time.monotonic() - began >= 3.5  # nothing cut it short
    assert SILENT in heard


@pytest.mark.parametrize("error", [GetTimeoutError("late"), ResourceError("no room")])
def test_an_error_that_may_come_of_it_is_asked_about_at_once(error: Exception) -> None:
    with pytest.raises(head.HeadIsGoneError) as told, head.watched(AT, asking=lambda address: SILENT):
        raise error
    assert told.value.__cause__ is error
    with pytest.raises(type(error)), head.watched(AT, asking=lambda address: Answer()):
        raise error


@pytest.mark.parametrize("error", [DataError("no bars"), KeyboardInterrupt()])
def test_an_error_of_the_user_and_ctrl_c_stay_what_they_are(error: BaseException) -> None:
    with pytest.raises(type(error)), head.watched(AT, asking=lambda address: SILENT):
        raise error


def test_the_signal_of_somebody_else_interrupts_nothing() -> None:
    before, reached = signal.getsignal(signal.SIGURG), False
    with head.watched(AT, asking=lambda address: Answer()):
        assert signal.getsignal(signal.SIGURG) is not before
        signal.raise_signal(signal.SIGURG)
        reached = True
    assert reached


def test_in_another_thread_nothing_is_interrupted_but_errors_are_told(soon: None) -> None:
    told: list[BaseException] = []

    def work() -> None:
        try:
            with head.watched(AT, asking=lambda address: SILENT, every=0.05):
                time.sleep(2)
                raise GetTimeoutError("late")
        except BaseException as error:
            told.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert isinstance(told[0], head.HeadIsGoneError)


@pytest.mark.parametrize(("given", "seconds"), [(None, 60), ("7", 7), ("soon", 60), ("0", 1)])
def test_ray_is_made_to_wait_longer_than_the_watch(
    monkeypatch: pytest.MonkeyPatch, given: str | None, seconds: int
) -> None:
    monkeypatch.delenv(head.RAY_WAITS, raising=False)
    if given is not None:
        monkeypatch.setenv(head.RAY_WAITS, given)
    assert head.patience() == seconds
    with head.outlasting():
        assert os.environ[head.RAY_WAITS] == str(seconds + head.GRACE_SECONDS)
    assert os.environ.get(head.RAY_WAITS) == given


def test_a_head_is_waited_for() -> None:
    said = iter([SILENT, Answer()])
    head.until_it_answers(AT, asking=lambda address: next(said))
    assert next(said, None) is None


class Typed:
    """Commands typed on a machine of a cluster, which is started anew after its head was killed."""

    def __init__(self, folder: str, stack: ExitStack) -> None:
        self.environment = guarded() | {"RAY_TMPDIR": folder, "RAY_USAGE_STATS_ENABLED": "0"}
        self.environment["PYTHONPATH"] = str(ROOT)  # workers import the network of a test
        self.stack = stack
        self.living: Head | None = None

    def begin(self, *words: str) -> subprocess.Popen[str]:
        if self.living is None:
            self.living = self.stack.enter_context(head_of_its_own(self.environment, num_cpus=3))
        own: Mapping[str, str] = {"RAY_ADDRESS": self.living.address, head.RAY_WAITS: "5"}
        return subprocess.Popen(
            [sys.executable, "-m", "raybench", *words, "--progress", "none"],
            env=self.environment | own,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )

    def told_of_the_head(self, words: list[str], there: Callable[[], object]) -> None:
        """Begin a command, kill the head of its cluster once something is ``there``, and see what is said."""
        command = self.begin(*words)
        deadline = time.monotonic() + 120
        while not there():
            assert command.poll() is None, command.stderr and command.stderr.read()
            assert time.monotonic() < deadline
            time.sleep(0.02)
        assert self.living is not None
        killed, self.living = self.living, None
        killed.kill()
        began = time.monotonic()
        _, said = command.communicate(timeout=120)
        assert time.monotonic() - began < 60
        *before, last = said.splitlines()
        assert command.returncode == 2, said
        assert last.startswith(f"error: the head of the Ray cluster at {killed.address} does not answer any more; ")
        assert "--resume" in last
        assert [line for line in before if not line.startswith("warning: ")] == []  # no traceback, nothing of Ray's


@pytest.fixture(scope="module")
def typed() -> Iterator[Typed]:
    with tempfile.TemporaryDirectory(prefix="rh-", ignore_cleanup_errors=True) as short, ExitStack() as stack:
        yield Typed(short, stack)


@pytest.mark.ray
@pytest.mark.slow
def test_a_training_whose_head_is_killed_goes_on_with_resume_on_another_cluster(
    typed: Typed, make_config: MakeConfig, tmp_path: Path
) -> None:
    config = make_config(
        train__max_epochs=12, train__early_stop__patience=100, train__batch_size=50, cluster__num_workers=1
    )
    (tmp_path / "gru.yaml").write_text(dump_config(config))
    out = tmp_path / "run"
    words = ["train", str(tmp_path / "gru.yaml"), "--out", str(out), "--ray"]
    typed.told_of_the_head(words, lambda: len(list(out.glob("checkpoints/checkpoint_*/facts.json"))) > 1)
    assert not (out / "manifest.json").exists()
    assert not (tmp_path / "run.claim").exists()
    again = typed.begin(*words, "--resume")
    _, said = again.communicate(timeout=120)
    assert again.returncode == 0, said
    whole = training.train(config, out=str(tmp_path / "whole"), local=True)
    assert_same_training(load_run(str(out)), whole)


@pytest.mark.ray
@pytest.mark.slow
def test_dates_that_were_scored_before_the_head_was_killed_stay_and_the_rest_is_the_same(
    typed: Typed, make_config: MakeConfig, make_run: MakeRun, market_bars: str, tmp_path: Path
) -> None:
    tree = make_config().model_dump(by_alias=True)
    tree["model"] = {"type": "tests.cluster.failing_network:Slow", "slow": str(tmp_path / "slow")}
    run, to = make_run(training.load_config(tree)), tmp_path / "scores"
    words = ["score", "--model", run, "--bars", market_bars, "--to", str(to), "--ray", "--trust"]
    (tmp_path / "slow").touch()
    typed.told_of_the_head(words, lambda: len(list(to.glob("date=*"))) > 3)
    (tmp_path / "slow").unlink()
    kept, when = bytes_of(to), times_of(str(to))
    score([run], bars=market_bars, to=str(to), local=True, trust=True)
    score([run], bars=market_bars, to=str(tmp_path / "whole"), local=True, trust=True)
    assert 3 < len(kept) < len(bytes_of(to))
    assert when.items() <= times_of(str(to)).items()
    assert bytes_of(to) == bytes_of(tmp_path / "whole")
