"""The examples in docstrings are true; `pytest --doctest-modules raybench/metrics` and so on run the same."""

from __future__ import annotations

import doctest
import importlib
import pkgutil
from collections.abc import Iterator

import pytest

ROOMS = ("metrics", "processors", "panel.windows", "models.layers", "feature_sets", "columns", "reports")
OPTIONS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


def examples(room: str) -> Iterator[doctest.DocTest]:
    """Docstrings with examples in the modules of a package."""
    package = importlib.import_module(f"raybench.{room}")
    for module in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
        found = doctest.DocTestFinder().find(importlib.import_module(module.name))
        yield from (each for each in found if each.examples)


@pytest.mark.parametrize("room", ROOMS)
def test_examples_are_true(room: str) -> None:
    tried = 0
    for each in examples(room):
        said: list[str] = []
        result = doctest.DocTestRunner(optionflags=OPTIONS).run(each, out=said.append)
        assert result.failed == 0, "".join(said)
        tried += result.attempted
    assert tried > 0, f"no docstring of raybench.{room} shows an example"
