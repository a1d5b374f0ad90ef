"""Which runs an address stands for: itself, or the ``seed-N`` folders that ``train --seeds`` wrote into it."""

from __future__ import annotations

import re

from raybench.data import storage
from raybench.errors import RunError

MANIFEST = "manifest.json"
_SEED = re.compile(r"seed-(\d+)")


def run_folders(uri: storage.Uri) -> tuple[str, ...]:
    """Give the run at ``uri``, or those of its seeds in ascending order; an address that holds neither is given back.

    RunError if a seed is not finished: an ensemble of those that happen to be would be another one tomorrow.
    """
    place = storage.open_location(uri).uri
    folders = _seeds(place)
    if not folders or storage.exists(storage.join(place, MANIFEST)):
        return (place,)
    unfinished = [folder for folder in folders if not _finished(folder)]
    if unfinished:
        names = ", ".join(map(storage.name_of, unfinished))
        raise RunError(
            f"{place}: {names} of {len(folders)} runs is not finished (no {MANIFEST}); go on with --resume, "
            "or name the runs one by one"
        )
    return tuple(folders)


def finished_seeds(uri: storage.Uri) -> tuple[str, ...]:
    """The runs of seeds at ``uri`` that are finished, in ascending order; those that are not are passed over."""
    return tuple(folder for folder in _seeds(storage.open_location(uri).uri) if _finished(folder))


def _seeds(place: str) -> list[str]:
    found = {name: int(match[1]) for name in storage.children(place) if (match := _SEED.fullmatch(name))}
    return [storage.join(place, name) for name in sorted(found, key=lambda name: found[name])]


def _finished(folder: str) -> bool:
    return storage.exists(storage.join(folder, MANIFEST))
