"""Versions, memory and folders of this machine: quick looks that change nothing."""

from __future__ import annotations

import contextlib
import os
import platform
import shutil
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

from packaging.requirements import Requirement

import raybench
from raybench.cluster.health.outcome import Outcome, well, wrong
from raybench.cluster.starting import default_folder, socket_folder
from raybench.errors import ResourceError
from raybench.fanout import cores_of_this_process

GB = 1e9
LEAST_MEMORY = 2 * GB  # a training of a small universe and Ray beside it
LEAST_DISK = 2 * GB
LEAST_SHARE = 0.05  # of the disk: with less of it free Ray stops
STORE_SHARE = 0.3  # of the memory: what Ray takes for its object store
_NAMED = ("torch", "ray", "numpy", "pandas", "pyarrow", "numba", "pydantic")
_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")
_SHARED = "/dev/shm"


def versions() -> Outcome:
    """Compare what is installed with what raybench requires."""
    python, known = platform.python_version(), {name: _version(name) for name in _NAMED}
    said = ", ".join(f"{name} {found or 'not installed'}" for name, found in known.items())
    try:
        wanted = [Requirement(text) for text in requires("raybench") or ()]
    except PackageNotFoundError:  # run from its source
        wanted = []
    amiss = [
        f"{each.name} is {_version(each.name) or 'not installed'}, wanted {each.specifier}"
        for each in wanted
        if (each.marker is None or each.marker.evaluate({"extra": ""}))
        and not each.specifier.contains(_version(each.name) or "0", prereleases=True)
    ]
    figures = {"python": python, "raybench": raybench.__version__, **known}
    if amiss:
        return wrong("versions", "; ".join(amiss), "pip install --upgrade raybench brings what is missing", **figures)
    return well("versions", f"python {python}, raybench {raybench.__version__}, {said}", **figures)


def memory() -> Outcome:
    """Count cores, and the memory that this process may take."""
    cores, whole = cores_of_this_process(), _memory()
    said = f"{cores} cores, {whole / GB:.1f} GB"
    if whole < LEAST_MEMORY:
        advice = f"give this machine, or its container, {LEAST_MEMORY / GB:.0f} GB or more"
        return wrong("memory", said, advice, cores=cores, memory_gb=whole / GB)
    return well("memory", said, cores=cores, memory_gb=round(whole / GB, 1))


def shared_memory() -> Outcome:
    """Compare the room for shared memory with what Ray's object store wants, where panels lie once for all workers."""
    if not os.path.isdir(_SHARED):
        return well("shared memory", f"there is no {_SHARED} on this system: Ray uses files")
    free, wanted = shutil.disk_usage(_SHARED).free, STORE_SHARE * _memory()
    said = f"{free / GB:.1f} GB free in {_SHARED}; Ray's object store takes {wanted / GB:.1f} GB"
    figures = {"free_gb": round(free / GB, 2), "wanted_gb": round(wanted / GB, 2)}
    if not os.access(_SHARED, os.W_OK):
        return wrong("shared memory", f"{_SHARED} cannot be written", f"mount {_SHARED} for this user", **figures)
    if free < wanted:
        advice = f"start the container with --shm-size={wanted / GB:.0f}g, or mount a larger {_SHARED}"
        return wrong("shared memory", f"{said}, so panels would lie on a disk", advice, **figures)
    return well("shared memory", said, **figures)


def temporary() -> Outcome:
    """See whether there is a folder for Ray's sockets and temporary files, with room on its disk."""
    with _as_it_was():
        try:
            folder = socket_folder() or default_folder()
        except ResourceError as error:
            return wrong("temporary files", str(error), "set RAY_TMPDIR and TMPDIR to folders that can be written")
    disk = shutil.disk_usage(_there(folder))
    said = f"{folder}, {disk.free / GB:.1f} GB free"
    figures = {"folder": folder, "free_gb": round(disk.free / GB, 2)}
    if disk.free < LEAST_DISK or disk.free < LEAST_SHARE * disk.total:
        return wrong("temporary files", said, "make room: Ray stops when a disk is 95% full", **figures)
    return well("temporary files", said, **figures)


@contextlib.contextmanager
def _as_it_was() -> Iterator[None]:
    """Remove the folders for Ray that were made only to see whether they can be."""
    tried = (default_folder(), "/tmp/ray", f"/tmp/ray-{os.getuid()}")
    wanted = [folder for folder in tried if not os.path.isdir(folder)]
    try:
        yield
    finally:
        for folder in wanted:
            with contextlib.suppress(OSError):  # not made, or in use by now
                os.rmdir(folder)


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _memory() -> float:
    """Bytes that this process may take: of the machine, or of its container."""
    found = [float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))]
    for file in _LIMITS:
        try:
            found.append(float(Path(file).read_text(encoding="ascii")))
        except (OSError, ValueError):  # no such group, or "max"
            continue
    return min(found)


def _there(folder: str) -> str:
    """The folder, or the nearest above it that is there already."""
    while not os.path.isdir(folder) and folder != os.path.dirname(folder):
        folder = os.path.dirname(folder)
    return folder
