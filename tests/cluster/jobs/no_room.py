"""Commands on a small disk of their own, in a process whose mounts nobody else sees: ``python -m`` this, with a task.

``full``: the disk has room for a part of what a command writes; then there is more, and the same command comes again.
``read only``: nothing may be written. Both print a line of JSON for each command.
"""

from __future__ import annotations

import io
import json
import math
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

from raybench.cli.app import run
from raybench.errors import RaybenchError
from raybench.search import folder as search_folder
from tests.cluster.jobs.power_cut import Look, bars_in, evaluation_in, explanation_in, features_in, run_in, scores_in

APART = ["unshare", "--user", "--map-root-user", "--mount"]  # what is mounted is seen by this command and its children
PAGE = 4096
LOOKS: Mapping[str, Look] = {
    "import": bars_in,
    "features": features_in,
    "train": run_in,
    "score": scores_in,
    "score on Ray": scores_in,
    "evaluate": evaluation_in,
    "explain": explanation_in,
    "tune": lambda root: search_in(root),
}
ON_RAY = ("score on Ray", "tune")
WARNED_OF_LATE = ("tune",)
"""What has come to its end by then, and says in a warning what it could not add."""
AGAIN: Mapping[str, Sequence[str]] = {"tune": ["--resume"], "train": ["--resume"]}


def search_in(root: Path) -> Any:
    """The trials of a finished search, without their times."""
    out = str(root / "search")
    if not search_folder.is_finished(out):
        return None
    return search_folder.load_search(out).trials[["trial_id", "status", "epochs", "metric"]].to_csv()


def main() -> None:
    """Do the task on standard input: ``task``, ``folder`` and ``lines``, words by the name of a command."""
    given = json.load(sys.stdin)
    task = _full if given["task"] == "full" else _read_only
    task(Path(given["folder"]), given["lines"])


def _full(folder: Path, lines: Mapping[str, Sequence[str]]) -> None:
    for ray in (False, True):
        with ExitStack() as stack:
            if ray:
                from raybench.cluster.session import session

                stack.enter_context(session(num_cpus=3))
            for name, words in lines.items():
                if (name in ON_RAY) is ray:
                    _fill_up(folder, name, words)


def _fill_up(folder: Path, name: str, words: Sequence[str]) -> None:
    """Let one command run out of room at two places: before it begins, and late."""
    look = LOOKS[name]
    whole = _made(folder / name / "whole")
    assert _run(words, whole)[0] == 0
    sizes = [path.stat().st_size for path in whole.rglob("*") if path.is_file()]  # a folder takes nothing of a tmpfs
    expected, pages = look(whole), sum(math.ceil(size / PAGE) for size in sizes)
    for share in (0.0,) if name in WARNED_OF_LATE else (0.0, 0.6):
        disk = _made(folder / name / f"disk-{share}")
        room = max(int(pages * share), 1)
        _mount("-t", "tmpfs", "-o", f"size={room * PAGE // 1024}k", "tmpfs", str(disk))
        if not share:
            (disk / "filler").write_bytes(b"x" * PAGE)
        code, told = _run(words, disk)
        seen = _looked(look, disk)
        _mount("-o", "remount,size=64m", str(disk))
        begun = AGAIN.get(name, ()) if any(path.name in ("run", "search") for path in disk.iterdir()) else ()
        again, more = _run([*words, *begun], disk)
        same = look(disk) == expected
        _print(
            name, share=share, code=code, told=told, torn=_is_torn(seen, expected), again=again, more=more, same=same
        )
        subprocess.run(["umount", str(disk)], check=True)


def _looked(look: Look, disk: Path) -> Any:
    try:
        return look(disk)
    except RaybenchError as error:
        return f"{type(error).__name__}: {error}"


def _is_torn(seen: Any, expected: Any) -> bool:
    """Whether a reader takes a part for the whole: of scores some dates may be there, of all else there is nothing."""
    if isinstance(expected, dict) and isinstance(seen, dict):
        return not seen.items() <= expected.items()
    return seen is not None


def _read_only(folder: Path, lines: Mapping[str, Sequence[str]]) -> None:
    disk = _made(folder / "disk")
    _mount("-t", "tmpfs", "tmpfs", str(disk))
    _mount("-o", "remount,ro", str(disk))
    for name, words in lines.items():
        code, told = _run(words, disk)
        _print(name, code=code, told=told)


def _run(words: Sequence[str], place: Path) -> tuple[int, str]:
    told = io.StringIO()
    with redirect_stderr(told), redirect_stdout(io.StringIO()):
        code = run([*(word.format(disk=place) for word in words), "-q"])
    return code, told.getvalue()


def _print(name: str, **facts: Any) -> None:
    print(json.dumps({"name": name, **facts}), flush=True)


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True)
    return folder


def _mount(*how: str) -> None:
    subprocess.run(["mount", *how], check=True)


if __name__ == "__main__":
    assert os.path.isdir("/proc"), "mounts of its own are Linux'"
    main()
