"""Errors cross Ray between processes, and a notebook may keep them: each comes back as itself."""

from __future__ import annotations

import pickle
from collections.abc import Iterator

import pytest
from ray import cloudpickle

from raybench import errors


def classes(root: type[errors.RaybenchError] = errors.RaybenchError) -> Iterator[type[errors.RaybenchError]]:
    yield root
    for kind in root.__subclasses__():
        yield from classes(kind)


@pytest.mark.parametrize("kind", list(classes()), ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("dump", [pickle.dumps, cloudpickle.dumps], ids=["pickle", "cloudpickle"])
def test_an_error_pickles(kind: type[errors.RaybenchError], dump: object) -> None:
    assert callable(dump)
    back = pickle.loads(dump(kind("what was given; what was wanted")))
    assert (type(back), str(back)) == (kind, "what was given; what was wanted")


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (ValueError("\n  no such thing\nat line 3"), "ValueError: no such thing"),
        (ValueError(), "ValueError"),
        (KeyError("a"), "KeyError: 'a'"),
    ],
)
def test_errors_of_others_are_told_in_one_line(error: Exception, said: str) -> None:
    assert errors.in_one_line(error) == said
    assert errors.first_line(error) == said.removeprefix(f"{type(error).__name__}: ")
