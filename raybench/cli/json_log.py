"""Standard error for programs: one JSON object a line, asked for by ``--log-format json``.

    {"time": "2026-01-05T18:31:02.114Z", "level": "info", "message": "...", "command": "score", "run": "runs/gru"}

``time`` is UTC; ``level`` is debug, info, warning or error. ``run`` and ``date`` are there where a line is about one.
An exception is one object with its traceback in ``exception``; the last line of a command has its ``exit_code``.
What libraries print becomes objects of level info; what is written past Python, to the descriptor itself, does not.
Light to load: the format has to be known before the command is.
"""

from __future__ import annotations

import io
import json
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stderr
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any, TextIO

OPTION = "--log-format"
JSON = "json"


class JsonLog(io.TextIOBase):
    """A stream that writes each line it is given, and each ``put``, as one object."""

    def __init__(self, stream: TextIO, command: str) -> None:
        self._stream, self._command = stream, command
        self._about: dict[str, Any] = {}
        self._line = ""
        self._lock = threading.RLock()

    def about(self, **facts: Any) -> None:
        """Say with every object from here on what it is about, such as ``run``; None takes it back."""
        self._about = {name: value for name, value in {**self._about, **facts}.items() if value is not None}

    def put(self, level: str, message: str, **facts: Any) -> None:
        """Write one object."""
        now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        head = {"time": now, "level": level, "message": message, "command": self._command}
        text = json.dumps({**head, **self._about, **facts}, default=str)
        with self._lock:
            self._stream.write(text.replace("\x7f", "\\u007f") + "\n")
            self._stream.flush()

    def write(self, text: str) -> int:
        """Take what somebody prints; a line that is not blank becomes an object once it is whole."""
        with self._lock:
            *lines, self._line = (self._line + text).split("\n")
            for line in lines:
                if line.strip():
                    self.put("info", line.strip("\r"))
        return len(text)

    def end(self) -> None:
        """Write what lacks its end of line; the stream below stays open."""
        with self._lock:
            line, self._line = self._line, ""
        if line.strip():
            self.put("info", line)

    def flush(self) -> None:
        """Pass on what is whole."""
        self._stream.flush()

    def writable(self) -> bool:
        """It is."""
        return True

    def fileno(self) -> int:
        """The descriptor of the stream below, which children inherit."""
        return self._stream.fileno()


@contextmanager
def as_asked(arguments: Sequence[str]) -> Iterator[None]:
    """Make standard error a :class:`JsonLog` for the block where a command line asks for it."""
    if not _asks(arguments) or sys.stderr is None or isinstance(sys.stderr, JsonLog):
        yield
        return
    log = JsonLog(sys.stderr, arguments[0])
    with redirect_stderr(log):
        try:
            yield
        finally:
            log.end()


def _asks(arguments: Sequence[str]) -> bool:
    pairs = pairwise([*arguments, ""])
    return any(word == f"{OPTION}={JSON}" or (word == OPTION and value == JSON) for word, value in pairs)
