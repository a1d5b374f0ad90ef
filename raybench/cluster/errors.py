"""User errors on their way through Ray, which wraps what a task raises and puts its traceback into the text."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from ray.exceptions import RayTaskError

from raybench.errors import UserError


@contextmanager
def as_raised() -> Iterator[None]:
    """Around getting a task's result: a user error comes out as it was raised in the task."""
    try:
        yield
    except RayTaskError as error:
        if isinstance(error.cause, UserError):
            raise error.cause from None
        raise
