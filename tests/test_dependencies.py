"""What pyproject.toml requires is what the package imports: nothing unused, nothing that comes by chance."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

import raybench

ROOT = Path(raybench.__file__).parent
PROJECT = tomllib.loads((ROOT.parent / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def plain(requirement: str) -> str:
    """The name of the distribution in a requirement, as indexes spell it."""
    found = re.match(r"[A-Za-z0-9._-]+", requirement)
    assert found
    return re.sub(r"[-_.]+", "-", found[0]).lower()


@cache
def imported() -> set[str]:
    """Distributions whose modules are imported anywhere in the package, lazily too."""
    names = set()
    for path in ROOT.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                names.add(node.module.partition(".")[0])
    theirs = packages_distributions()
    others = names - set(sys.stdlib_module_names) - {"raybench"}
    return {plain(name) for module in others for name in theirs.get(module, [module])}


REQUIRED = {plain(text) for text in PROJECT["dependencies"]}
BROUGHT = {"pydantic-core": "pydantic", "typing-extensions": "pydantic", "grpcio": "ray"}  # parts of what is required
EXTRAS = {name: {plain(text) for text in texts} for name, texts in PROJECT["optional-dependencies"].items()}
OPTIONAL = set().union(*(names for extra, names in EXTRAS.items() if extra != "dev"))


@pytest.mark.parametrize("name", sorted(REQUIRED))
def test_what_is_required_is_imported(name: str) -> None:
    assert name in imported()


def test_what_is_imported_is_required_or_an_extra() -> None:
    assert imported() <= REQUIRED | OPTIONAL | BROUGHT.keys()
    assert set(BROUGHT.values()) <= REQUIRED


def test_what_is_required_has_a_version_that_the_tests_ran_with() -> None:
    pinned = {plain(line) for line in (ROOT.parent / "constraints.txt").read_text().splitlines() if line[:1] != "#"}
    assert pinned >= REQUIRED | OPTIONAL | EXTRAS["dev"]
