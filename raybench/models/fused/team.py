"""Work shared with the threads on which torch runs its own operations.

When an operation that torch ran on several threads is done, OpenMP's threads stay awake for some milliseconds,
spinning, lest the next one has to wait for them. Threads of our own would share the cores with those: on two cores a
step of a recurrent layer took as long as on one. So the work is given to that team itself, through the entry point that
compilers call for a parallel region (``GOMP_parallel``, libgomp's published interface). Where torch runs on something
else, a pool of threads does it.
"""

from __future__ import annotations

import ctypes
import functools
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

import torch

_REGION = ctypes.CFUNCTYPE(None, ctypes.c_void_p)


def together(work: Callable[[], None], threads: int) -> None:
    """Call ``work`` on so many threads at once, this one among them, and wait for all; the first error comes out."""
    if threads == 1:
        work()
        return
    errors: list[BaseException] = []

    def one(_: object = None) -> None:
        try:
            work()
        except BaseException as error:  # Ctrl-C too: what leaves a callback is printed and lost
            errors.append(error)

    parallel = _team_of_torch()
    if parallel is not None:
        parallel(_REGION(one), None, threads, 0)
    else:
        others = [_pool(threads).submit(one) for _ in range(threads - 1)]
        one()
        wait(others)
    if errors:
        raise errors[0]


@functools.cache
def _team_of_torch() -> Any:
    """``GOMP_parallel`` of the library whose threads torch uses; None where that is another one."""
    if "OpenMP" not in torch.__config__.parallel_info():
        return None
    torchs = libraries_of(Path(torch.__file__).parent, "libgomp")
    for path in _loaded("libgomp"):
        if path in torchs:
            parallel = ctypes.CDLL(str(path), mode=os.RTLD_NOLOAD).GOMP_parallel
            parallel.argtypes, parallel.restype = [_REGION, ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint], None
            return parallel
    return None


def libraries_of(package: Path, name: str) -> set[Path]:
    """The libraries of that name that came with a package, where its files really lie: environments are often links."""
    folders = package / "lib", package.with_suffix(".libs")
    return {path.resolve() for folder in folders for path in folder.glob(f"{name}*")}


def _loaded(name: str) -> list[Path]:
    """The libraries of that name that this process has loaded, as Linux tells them."""
    try:
        lines = Path("/proc/self/maps").read_text().splitlines()
    except OSError:
        return []
    paths = {Path(line.split(maxsplit=5)[-1]) for line in lines if f"/{name}" in line}
    return sorted(path for path in paths if path.name.startswith(name))


_pools: dict[tuple[int, int], ThreadPoolExecutor] = {}


def _pool(threads: int) -> ThreadPoolExecutor:
    """Threads of this process; those of the process that it was forked from are not here."""
    own = os.getpid(), threads
    if own not in _pools:
        _pools[own] = ThreadPoolExecutor(threads - 1, thread_name_prefix="recurrent")
    return _pools[own]
