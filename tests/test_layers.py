"""Imports go one way through raybench, no packages know each other in a circle, and only the edges touch Ray
or the terminal."""

from __future__ import annotations

import ast
import importlib
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from itertools import pairwise
from pathlib import Path

import pytest

import raybench

ROOT = Path(raybench.__file__).parent
LAYERS: tuple[frozenset[str], ...] = tuple(
    frozenset(names.split())
    for names in (
        "errors progress scratch allocator fanout reports",
        "config",
        "columns",
        "storage",
        "market",
        "feature_sets processors",
        "panel models",
        "feeds",
        "metrics",
        "training",
        "runs",
        "scoring",
        "evaluation explanation",
        "search comparison",
        "contents drafting",
        "cluster",
        "cli",
        "api",
    )
)
LEVEL = {name: level for level, names in enumerate(LAYERS) for name in names}
HEAVY = {"torch", "ray", "numpy", "pandas", "pyarrow", "numba"}
MODULES = sorted(path for path in ROOT.rglob("*.py") if path.parent != ROOT or path.stem in LEVEL)


def layer_of(path: Path) -> str:
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


@cache
def imports(path: Path) -> tuple[str, ...]:
    """Dotted names of everything that a file imports, wherever in the file it does."""
    return tuple(_imports(path))


def _imports(path: Path) -> Iterator[str]:
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


def room_of(path: Path) -> str:
    """The package that a module stands in; a package's ``__init__`` is its door, which stands apart from the room.

    A door shows what is inside to those who come from outside. So it may import what the package's modules and its
    sub-packages have, but what is inside may not come through the door.
    """
    folder = path.relative_to(ROOT).parent.as_posix()
    return f"{folder}/" if path.stem == "__init__" else folder


def target(dotted: str) -> Path | None:
    """The file that an imported name of ours comes from."""
    parts = dotted.split(".")[1:]
    for depth in range(len(parts), 0, -1):
        place = ROOT.joinpath(*parts[:depth])
        if place.with_suffix(".py").is_file():
            return place.with_suffix(".py")
        if (place / "__init__.py").is_file():
            return place / "__init__.py"
    return None


def rooms(files: Iterable[Path]) -> Mapping[str, Mapping[str, str]]:
    """Which room imports from which, and one import that shows it."""
    known: dict[str, dict[str, str]] = defaultdict(dict)
    for path in files:
        for dotted in imports(path):
            there = target(dotted) if dotted.startswith("raybench.") else None
            if there is not None and there.parent != ROOT and room_of(there) != room_of(path):
                known[room_of(path)].setdefault(room_of(there), f"{name(path)} imports {dotted}")
    return known


def circle(known: Mapping[str, Mapping[str, str]]) -> list[str]:
    """The imports of one circle of rooms, or nothing."""
    done: set[str] = set()

    def walk(room: str, way: list[str]) -> list[str]:
        if room in way:
            around = [*way[way.index(room) :], room]
            return [known[left][right] for left, right in pairwise(around)]
        if room in done:
            return []
        for other in known.get(room, {}):
            if found := walk(other, [*way, room]):
                return found
        done.add(room)
        return []

    return next((found for room in known if (found := walk(room, []))), [])


@pytest.mark.parametrize("path", MODULES, ids=name)
def test_imports_point_down(path: Path) -> None:
    """A layer imports itself and the layers under it; those side by side do not know each other."""
    own, layer = LEVEL[layer_of(path)], layer_of(path)
    inside = [found.split(".") for found in imports(path) if found.startswith("raybench.")]
    upward = [".".join(p) for p in inside if LEVEL.get(p[1], -1) > own or (LEVEL.get(p[1]) == own and p[1] != layer)]
    assert [one for one in upward if own > 0] == []


def test_no_packages_import_each_other_in_a_circle() -> None:
    """Sub-packages included."""
    assert circle(rooms(path for path in MODULES if path.parent != ROOT)) == []


def test_a_circle_would_be_found() -> None:
    known = {"a": {"b": "a/x.py imports b"}, "b": {"b/c": "b/y.py imports b.c"}, "b/c": {"a": "b/c/z.py imports a"}}
    assert circle(known) == ["a/x.py imports b", "b/y.py imports b.c", "b/c/z.py imports a"]
    assert circle({"a": {"b": "-"}, "b": {}}) == []


def shown(package: Path) -> list[str]:
    """What a package lists in ``__all__``: names of its door, and modules that others may import from."""
    for node in ast.parse((package / "__init__.py").read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            listed: list[str] = ast.literal_eval(node.value)
            return listed
    return []


@pytest.mark.parametrize("path", MODULES, ids=name)
def test_what_others_take_is_shown(path: Path) -> None:
    """A package says in ``__all__`` what other packages may take from it; the rest is its own."""
    hidden = []
    for dotted in imports(path):
        there = target(dotted) if dotted.startswith("raybench.") else None
        if there is None or there.parent in (ROOT, path.parent):
            continue
        if there == ROOT.joinpath(*dotted.split(".")[1:], "__init__.py"):
            continue  # the door itself
        taken = dotted.rpartition(".")[2] if there.stem == "__init__" else there.stem
        if taken not in shown(there.parent):
            hidden.append(dotted)
    assert hidden == []


@pytest.mark.parametrize("package", sorted(p.parent for p in ROOT.glob("*/**/__init__.py")), ids=name)
def test_what_is_shown_is_there(package: Path) -> None:
    room = importlib.import_module(".".join(["raybench", *package.relative_to(ROOT).parts]))
    names = shown(package)
    assert [one for one in names if not (package / f"{one}.py").is_file() and not hasattr(room, one)] == []


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


@pytest.mark.parametrize("module", ["raybench", "raybench.config", "raybench.cli.commands.check"])
def test_a_light_import_is_light(module: str) -> None:
    code = f"import sys, {module}; sys.exit(bool({{'torch', 'ray', 'pandas', 'pyarrow'}} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_every_package_has_its_layer() -> None:
    packages = {path.parent.name for path in ROOT.glob("*/__init__.py")}
    assert packages == {layer for layer in LEVEL if not (ROOT / f"{layer}.py").is_file()}
