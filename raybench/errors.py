"""Every error a user can cause, as a tree.

    RaybenchError
    +-- UserError            exit code 2: one line that says what was given, what was wanted, what to change
        +-- ConfigError      the configuration file or an override
        +-- DataError        bars, feature tables, universes, segments
        +-- RunError         run directories, artifacts, weights
        +-- ResourceError    the cluster cannot give what was asked for
        +-- TrainingError    a training that cannot go on (NaN loss, no samples)
        +-- ArgumentError    how a function was called; a TypeError too, as Python has it

Each takes the message alone, so each pickles: errors cross Ray between processes. Beside them, how errors of others
are told in one line.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


class RaybenchError(Exception):
    """Anything raybench raises on purpose."""


class UserError(RaybenchError):
    """Something the user can put right; the command line prints it as one line and exits with 2."""


class ConfigError(UserError):
    """A configuration that cannot be run."""


class DataError(UserError):
    """Bars, features, labels or universes that cannot be used."""


class RunError(UserError):
    """A run directory, artifact or weights file that cannot be used."""


class ResourceError(UserError):
    """The cluster does not have what the configuration asks for."""


class TrainingError(UserError):
    """A training that has to stop: its loss, labels or samples are unusable."""


class ArgumentError(UserError, TypeError):
    """A function was called with arguments that it does not have, or not with those that it needs."""


@contextmanager
def of(what: str) -> Iterator[None]:
    """Begin what a user's error says with the one of several that it is about; nothing where ``what`` is empty."""
    try:
        yield
    except UserError as error:
        if not what:
            raise
        raise type(error)(f"{what}: {error}") from error


def first_line(error: BaseException) -> str:
    """What somebody else's error says first; its kind if it says nothing."""
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)


def in_one_line(error: BaseException) -> str:
    """The kind of somebody else's error and what it says first."""
    kind, said = type(error).__name__, first_line(error)
    return kind if said == kind else f"{kind}: {said}"
