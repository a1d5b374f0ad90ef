"""Ctrl-C and SIGTERM: one line that says what is kept, exit codes 130 and 143, no traceback.

Light to load: it is needed while the rest of the command line is still being imported.
"""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

EXIT_CODES = (128 + signal.SIGINT, 128 + signal.SIGTERM)


class Terminated(KeyboardInterrupt):
    """SIGTERM, which ends a command as Ctrl-C does, also where it is process 1 of a container."""


@contextmanager
def ended_by_signals() -> Iterator[None]:
    """Turn SIGTERM into :class:`Terminated`; after the first signal the next one ends the process at once."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, _terminate)
    _Received.sigterm = False
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


class _Received:
    """Which signal came: what waits in Ray raises a plain KeyboardInterrupt for either."""

    sigterm = False


def _terminate(number: int, frame: FrameType | None) -> None:
    _Received.sigterm = True
    at_once_from_now_on()
    raise Terminated


def at_once_from_now_on() -> None:
    """Let the next Ctrl-C or SIGTERM end the process as the system does: no traceback of what tidies up."""
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_DFL)


def exit_code(stop: KeyboardInterrupt) -> int:
    """Exit code of a command that a signal ended, as shells give it."""
    return EXIT_CODES[_by_sigterm(stop)]


def said(stop: KeyboardInterrupt, kept: str = "") -> str:
    """Say that a command was ended, and what is kept."""
    what = "ended by SIGTERM" if _by_sigterm(stop) else "interrupted"
    return f"{what}: {kept}" if kept else what


def _by_sigterm(stop: KeyboardInterrupt) -> bool:
    return _Received.sigterm or isinstance(stop, Terminated)


def on_a_line_of_its_own(text: str) -> None:
    """Write to standard error below the ``^C`` that a terminal shows."""
    if sys.stderr is not None:
        print(("\n" if sys.stderr.isatty() else "") + text, file=sys.stderr, flush=True)
