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
    found = {name: match for name in storage.children(place) if (match := _SEED.fullmatch(name))}
    if not found or storage.exists(storage.join(place, MANIFEST)):
        return (place,)
    folders = [storage.join(place, name) for name in sorted(found, key=lambda name: int(found[name][1]))]
    unfinished = [folder for folder in folders if not storage.exists(storage.join(folder, MANIFEST))]
    if unfinished:
        names = ", ".join(map(storage.name_of, unfinished))
        raise RunError(
            f"{place}: {names} of {len(folders)} runs is not finished (no {MANIFEST}); go on with --resume, "
            "or name the runs one by one"
        )
    return tuple(folders)
