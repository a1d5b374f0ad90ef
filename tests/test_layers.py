"""Imports go one way through raybench, and only the edges touch Ray or the terminal."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import raybench

ROOT = Path(raybench.__file__).parent
LAYERS: tuple[frozenset[str], ...] = (
    frozenset({"errors", "progress", "scratch"}),
    frozenset({"config"}),
    frozenset({"data"}),
    frozenset({"models", "page"}),
    frozenset({"train", "score", "evaluate", "explain"}),
    frozenset({"cluster"}),
    frozenset({"cli"}),
    frozenset({"api"}),
)
LEVEL = {name: level for level, names in enumerate(LAYERS) for name in names}
HEAVY = {"torch", "ray", "numpy", "pandas", "pyarrow", "numba"}
MODULES = sorted(path for path in ROOT.rglob("*.py") if path.parent != ROOT or path.stem in LEVEL)


def layer_of(path: Path) -> str:
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def imports(path: Path) -> Iterator[str]:
    """Dotted names of everything that a file imports, wherever in the file it does."""
    package = ["raybench", *path.relative_to(ROOT).with_suffix("").parts]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: -node.level] if node.level else []
            module = ".".join([*base, *filter(None, [node.module])])
            yield from (f"{module}.{alias.name}" for alias in node.names)


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", MODULES, ids=name)
def test_imports_point_down(path: Path) -> None:
    """A layer imports itself and the layers under it; train, score, evaluate and explain may know each other."""
    own = LEVEL[layer_of(path)]
    inside = [found.split(".") for found in imports(path) if found.startswith("raybench.")]
    upward = [".".join(parts) for parts in inside if LEVEL.get(parts[1], -1) > own]
    assert upward == []


@pytest.mark.parametrize("path", [p for p in MODULES if layer_of(p) != "cluster"], ids=name)
def test_only_cluster_imports_ray(path: Path) -> None:
    assert [found for found in imports(path) if found.split(".")[0] == "ray"] == []


@pytest.mark.parametrize("path", [p for p in MODULES if layer_of(p) in {"config", "errors"}], ids=name)
def test_configuration_is_light(path: Path) -> None:
    """A laptop without torch and Ray can check a config."""
    assert [found for found in imports(path) if found.split(".")[0] in HEAVY] == []


@pytest.mark.parametrize("path", [p for p in MODULES if layer_of(p) != "cli"], ids=name)
def test_only_the_command_line_prints(path: Path) -> None:
    calls = [n for n in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(n, ast.Call)]
    assert [c.lineno for c in calls if isinstance(c.func, ast.Name) and c.func.id == "print"] == []


def test_a_training_worker_does_without_numba() -> None:
    """It reads panels and makes none: 50 MB and half a second for each worker."""
    code = "import sys, raybench.cluster.worker; sys.exit('numba' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_every_package_has_its_layer() -> None:
    packages = {path.parent.name for path in ROOT.glob("*/__init__.py")}
    assert packages <= set(LEVEL)
