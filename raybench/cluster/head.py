"""Whether the head of the cluster that a command joined still answers.

Ray itself waits a minute for a head that is gone, or as long as ``RAY_gcs_rpc_server_reconnect_timeout_s`` says, for it
may come back (GCS fault tolerance), and then ends the process from within: no word of what is kept, a line of C++. So
a thread asks the head every few seconds, and where it was silent for that long, what the command waits for is
interrupted and the cause told; the Ray of this process is made to wait longer than that.
"""

from __future__ import annotations

import atexit
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from types import FrameType

import ray

from raybench.cluster.address import Answer, ask
from raybench.cluster.environment import with_variable
from raybench.errors import ResourceError, UserError

ASKED_SECONDS = 5.0  # between two questions
AGAIN_SECONDS = 15.0  # until what swallowed the interrupt is interrupted again
LEAVE_SECONDS = 2.0  # for Ray to be left, which may wait for what the head never says, and end the process after 5
GRACE_SECONDS = 120  # that the Ray of this process waits longer, to be left in good order
RAY_SECONDS = 60  # that Ray waits unless told otherwise
RAY_WAITS = "RAY_gcs_rpc_server_reconnect_timeout_s"
_NUMBER = signal.SIGURG  # which nobody sends, and which does nothing where it comes too late


class HeadIsGoneError(ResourceError):
    """The head of the cluster does not answer any more."""


@contextmanager
def watched(address: str, *, asking: Callable[[str], Answer] = ask, every: float = ASKED_SECONDS) -> Iterator[None]:
    """Have the block end with HeadIsGoneError where the head at ``address`` is silent for as long as Ray waits for it.

    An error that nobody foresaw, while it is silent, is taken to come of that. Only the main thread can be interrupted.
    """
    watch = _Watch(address, asking, every)
    try:
        with watch.interrupting():
            yield
    except BaseException as error:
        if watch.gone or (_may_come_of_it(error) and watch.is_silent()):
            raise HeadIsGoneError(
                f"the head of the Ray cluster at {address} does not answer any more; epochs, trials and dates that are "
                "finished are kept: run the same command on a cluster that answers, train, tune and bench with --resume"
            ) from error
        raise


def outlasting() -> AbstractContextManager[None]:
    """Have Ray, where it is begun in this block, wait longer for the head than the watch does."""
    return with_variable(RAY_WAITS, str(round(patience()) + GRACE_SECONDS))


def leave_without_head() -> None:
    """Leave Ray, whose head is gone; where that hangs, it is given up, and the process is to end soon."""
    leaving = threading.Thread(target=ray.shutdown, name="leaving-ray", daemon=True)
    leaving.start()
    leaving.join(LEAVE_SECONDS)
    if leaving.is_alive():
        atexit.unregister(ray.shutdown)  # it would wait for the thread


def until_it_answers(address: str, *, asking: Callable[[str], Answer] = ask) -> None:
    """Wait for the head, which its watch may interrupt: not so a call of Ray's that asks a head that is gone."""
    while _silent(asking(address)):
        time.sleep(1.0)


def patience() -> float:
    """For how many seconds a head may be silent: as long as Ray waits."""
    try:
        return max(float(int(os.environ.get(RAY_WAITS, RAY_SECONDS))), 1.0)
    except ValueError:
        return float(RAY_SECONDS)


def _silent(answer: Answer) -> bool:
    """Whether nobody is there; one that refuses this side, as after a change of tokens, is."""
    return bool(answer.problem) and not answer.foreign


def _may_come_of_it(error: BaseException) -> bool:
    return isinstance(error, Exception) and (isinstance(error, ResourceError) or not isinstance(error, UserError))


class _Watch(threading.Thread):
    def __init__(self, address: str, asking: Callable[[str], Answer], every: float) -> None:
        super().__init__(name="head", daemon=True)
        self._address, self._asking = address, asking
        self._patience = patience()
        self._every = min(every, self._patience / 4)
        self._interrupts = False
        self.gone, self._over = False, threading.Event()

    def is_silent(self) -> bool:
        """Ask now."""
        return _silent(self._asking(self._address))

    @contextmanager
    def interrupting(self) -> Iterator[None]:
        """Watch while the block runs; interrupt it if it is the main thread's."""
        self._interrupts = threading.current_thread() is threading.main_thread()
        before = signal.signal(_NUMBER, self._interrupt) if self._interrupts else None
        self.start()
        try:
            yield
        finally:
            self._over.set()
            if self._interrupts:
                signal.signal(_NUMBER, before)

    def run(self) -> None:
        """Ask until the head has been silent for too long."""
        since: float | None = None  # it was asked in vain first: a machine that slept has not heard it for longer
        while not self._over.wait(self._every):
            began = time.monotonic()
            since = (since or began) if self.is_silent() else None
            if since is not None and time.monotonic() - since > self._patience:
                break
        while self._interrupts and not self._over.is_set():
            self.gone = True
            signal.pthread_kill(threading.main_thread().ident or 0, _NUMBER)
            self._over.wait(AGAIN_SECONDS)

    def _interrupt(self, number: int, frame: FrameType | None) -> None:
        """What waits in Ray is ended by nothing but this."""
        if self.gone and not self._over.is_set():
            raise KeyboardInterrupt
