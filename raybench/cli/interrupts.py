"""Ctrl-C, SIGTERM and a terminal that is closed (SIGHUP): one line that says what is kept, no traceback.

Exit codes are 130, 143 and 129. A command that was started to ignore SIGHUP, as nohup does, goes on ignoring it.
Light to load: it is needed while the rest of the command line is still being imported.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any

from raybench.cli.json_log import JsonLog
from raybench.cli.visible import visible

_ENDING = (signal.SIGTERM, signal.SIGHUP)
_PAUSE, _MOST = 0.02, 500  # seconds between looks at whether an import is done, and how often
EXIT_CODES = tuple(128 + number for number in (signal.SIGINT, *_ENDING))


class Terminated(KeyboardInterrupt):
    """SIGTERM or SIGHUP, which end a command as Ctrl-C does, also where it is process 1 of a container."""


@contextmanager
def ended_by_signals() -> Iterator[None]:
    """Turn SIGTERM and SIGHUP into :class:`Terminated` and note Ctrl-C; after one the next ends the process at once."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, _terminate) for number in _ENDING if not _is_ignored(number)}
    before[signal.SIGALRM] = signal.signal(signal.SIGALRM, _later)
    takes_ctrl_c = (
        signal.getsignal(signal.SIGINT) is signal.default_int_handler
    )  # not so behind nohup or in the background
    if takes_ctrl_c:
        signal.signal(signal.SIGINT, _interrupt)
    _Received.ending, _Received.any, _Received.postponed = None, False, 0
    told_before = sys.unraisablehook

    def told(what: Any) -> None:
        if what.exc_type is None or not issubclass(what.exc_type, KeyboardInterrupt):  # it comes again, see ``again``
            told_before(what)

    sys.unraisablehook = told
    _Received.heeded = True
    try:
        yield
    finally:
        _Received.heeded = False
        signal.setitimer(signal.ITIMER_REAL, 0)
        sys.unraisablehook = told_before
        if takes_ctrl_c and signal.getsignal(signal.SIGINT) is _interrupt:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        for number, handler in before.items():
            signal.signal(number, handler)


def _is_ignored(number: int) -> bool:
    """Whether whoever started this process has it ignore SIGHUP, which it is to outlive."""
    return number == signal.SIGHUP and signal.getsignal(number) is signal.SIG_IGN


class _Received:
    """Which signal came: what waits in Ray raises a plain KeyboardInterrupt for each.

    A library may swallow the exception, as an import of an optional part does, and fail of that somewhere else.
    """

    ending: int | None = None  # SIGTERM or SIGHUP
    any = False
    postponed = 0  # times that it was put off
    heeded = False  # while a command runs


def received() -> bool:
    """Say whether a signal came that ends the command: an exception after it, of whatever kind, is its consequence."""
    return _Received.any


def again() -> None:
    """Raise the interrupt that came and that somebody swallowed, such as a hook that runs while a process forks."""
    if _Received.heeded and _Received.any and threading.current_thread() is threading.main_thread():
        raise Terminated if _Received.ending is not None else KeyboardInterrupt


def _terminate(number: int, frame: FrameType | None) -> None:
    _Received.ending, _Received.any = number, True
    at_once_from_now_on()
    _later(number, frame)


def _interrupt(number: int, frame: FrameType | None) -> None:
    if _Received.postponed:  # a second one: no more waiting
        at_once_from_now_on()
        signal.raise_signal(number)
    _Received.any = True
    _later(number, frame)


def _later(number: int, frame: FrameType | None) -> None:
    """Raise what came, but not while torch is being imported: its C++ code aborts the process if a callback raises."""
    if _Received.any and _imports_torch(frame) and _Received.postponed < _MOST:
        _Received.postponed += 1
        signal.setitimer(signal.ITIMER_REAL, _PAUSE)
    elif _Received.any:
        raise Terminated if _Received.ending is not None else KeyboardInterrupt


def _imports_torch(frame: FrameType | None) -> bool:
    while frame is not None:
        name = str(frame.f_globals.get("__name__", ""))
        if frame.f_code.co_name == "<module>" and name.partition(".")[0] == "torch":
            return True
        frame = frame.f_back
    return False


def at_once_from_now_on() -> None:
    """Let the next signal end the process as the system does: no traceback of what tidies up."""
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGINT, *_ENDING):
            if not _is_ignored(number):
                signal.signal(number, _end if os.getpid() == 1 else signal.SIG_DFL)


def _end(number: int, frame: FrameType | None) -> None:
    """What the system does by itself for any process but the first of a container."""
    os._exit(128 + number)


def exit_code(stop: BaseException) -> int:
    """Exit code of a command that a signal ended, as shells give it."""
    return 128 + (_ending(stop) or signal.SIGINT)


def said(stop: BaseException, kept: str = "") -> str:
    """Say that a command was ended, and what is kept."""
    number = _ending(stop)
    what = "interrupted" if number is None else f"ended by {signal.Signals(number).name}"
    return f"{what}: {visible(kept)}" if kept else what


def _ending(stop: BaseException) -> int | None:
    return signal.SIGTERM if _Received.ending is None and isinstance(stop, Terminated) else _Received.ending


def on_a_line_of_its_own(text: str) -> None:
    """Write to standard error below the ``^C`` that a terminal shows."""
    if isinstance(sys.stderr, JsonLog):
        sys.stderr.put("error", text)
    elif sys.stderr is not None:
        with suppress(OSError):  # the terminal was closed
            print(("\n" if sys.stderr.isatty() else "") + text, file=sys.stderr, flush=True)
