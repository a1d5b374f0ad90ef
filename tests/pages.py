"""Does what a page of docs/ says to do, in a copy of the source: writes files, makes changes, runs commands.

Blocks of a page, in order:

    ```python   a new file; its first line is ``# path``
    ```diff     a change of the file that its first line names, ``# path``; `` `` and ``-`` lines are looked for, once,
                `` `` and ``+`` lines take their place; ``@@`` begins the next change
    ```sh       commands; ``raybench``, ``pytest`` and ``python`` are those of the copy

Other blocks are not done.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
COPIED = ("raybench", "configs", "docs", "tests", "README.md", "pyproject.toml")


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """A block of code: what it is written in, and its lines."""

    language: str
    lines: tuple[str, ...]


def blocks_of(page: str) -> Iterator[Block]:
    """Give the blocks of a page of docs/, in order."""
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    for found in re.finditer(r"^```(\w+)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        yield Block(language=found[1], lines=tuple(found[2].splitlines()))


def copy_of_the_source(folder: Path) -> Path:
    """Copy what a page changes; ``folder/bin`` has the commands, which import from the copy and from nowhere else."""
    tree = folder / "raybench-source"
    for name in COPIED:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, tree / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, tree / name)
    (folder / "bin").mkdir()
    for command, words in {"raybench": " -m raybench", "pytest": " -m pytest", "python": ""}.items():
        script = folder / "bin" / command
        script.write_text(f'#!/bin/sh\nexec {sys.executable}{words} "$@"\n')
        script.chmod(0o755)
    return tree


def do(block: Block, tree: Path) -> str:
    """Do what a block says, in the copy; return what its commands printed."""
    if block.language == "python":
        path = tree / _path(block)
        assert not path.exists(), f"{path.name} is there already"
        path.write_text("\n".join(block.lines[1:]).strip("\n") + "\n", encoding="utf-8")
    elif block.language == "diff":
        _change(tree / _path(block), block.lines[1:])
    elif block.language == "sh":
        return shell(tree, "\n".join(block.lines))
    return ""


def shell(tree: Path, script: str) -> str:
    """Run commands in the copy as a shell does; all have to succeed."""
    environment = {
        **{key: value for key, value in os.environ.items() if key not in ("COLUMNS", "RAY_ADDRESS")},
        "PATH": os.pathsep.join([str(tree.parent / "bin"), os.environ["PATH"]]),
        "PYTHONPATH": str(tree),
        "COLUMNS": "80",
    }
    line = ["sh", "-e", "-c", script]
    done = subprocess.run(line, cwd=tree, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{script}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def _path(block: Block) -> str:
    assert block.lines[0].startswith("# "), block.lines[0]
    return block.lines[0].removeprefix("# ")


def _change(path: Path, lines: tuple[str, ...]) -> None:
    text = path.read_text(encoding="utf-8")
    for hunk in "\n".join(lines).split("@@\n"):
        marked = [(line[:1] or " ", line[1:]) for line in hunk.strip("\n").split("\n")]
        assert {mark for mark, _ in marked} <= {" ", "+", "-"}, hunk
        old = "".join(f"{line}\n" for mark, line in marked if mark != "+")
        new = "".join(f"{line}\n" for mark, line in marked if mark != "-")
        assert f"\n{text}".count(f"\n{old}") == 1, f"{path.name} does not hold once:\n{old}"
        text = f"\n{text}".replace(f"\n{old}", f"\n{new}")[1:]
    path.write_text(text, encoding="utf-8")
