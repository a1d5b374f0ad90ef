"""The verbs of the package: loaded when used, and plain functions."""

from __future__ import annotations

import inspect
from pathlib import Path

import pytest

import raybench


def test_a_verb_is_its_function() -> None:
    from raybench.api.tables import features

    assert raybench.features is features
    assert "features" in dir(raybench)


@pytest.mark.parametrize("name", sorted(raybench._VERBS))
def test_verbs_are_plain_functions(name: str) -> None:
    """Also after every module of that kind was loaded: no package has the name of a verb."""
    verb = getattr(raybench, name)
    assert inspect.isfunction(verb)
    assert not (Path(raybench.__file__).parent / name).exists()
    with pytest.raises(TypeError, match=rf"raybench\.{name}\b"):
        verb(nonsense=1)


def test_what_is_not_there() -> None:
    with pytest.raises(AttributeError, match="nonsense"):
        raybench.nonsense  # type: ignore[attr-defined]  # noqa: B018
