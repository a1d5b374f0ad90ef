"""What lies at an address, told by the names in its folder, and refused where something else is to be written.

One listing of the folder and at most one question more; nothing is opened. A folder that its command did not
finish counts as what it was going to be.
"""

from __future__ import annotations

import re
from enum import Enum

from raybench.data import storage
from raybench.data.bars_metadata import METADATA
from raybench.errors import DataError

_DATE = re.compile(r"date=\d{4}-\d{2}-\d{2}")
_SEED = re.compile(r"seed-\d+")


class Kind(Enum):
    """What an address may hold; the value says so to people."""

    NOTHING = "nothing"
    BARS = "a bars dataset"
    RUN = "a run"
    RUNS = "a folder of runs"
    SCORES = "a score table"
    FEATURES = "a feature table"
    EVALUATION = "an evaluation"
    EXPLANATION = "an explanation"
    FILES = "other files"
    FILE = "a file"


def what_is(uri: storage.Uri) -> Kind:
    """Tell what the folder ``uri`` is. An empty one, and one of hidden files alone, is nothing."""
    if storage.exists(uri) and not storage.is_folder(uri):
        return Kind.FILE
    names = {name for name in storage.children(uri) if not name.startswith(".")}
    if METADATA in names or {"bars", "calendar"} <= names:
        return Kind.BARS
    if "manifest.json" in names or "config.yaml" in names:
        return Kind.RUN
    if any(map(_SEED.fullmatch, names)):
        return Kind.RUNS
    if any(map(_DATE.fullmatch, names)):
        return Kind.SCORES
    if "explain.json" in names:
        return Kind.EXPLANATION
    if {"metrics.json", "report.html"} <= names or {"daily.parquet", "report.html"} <= names:
        return Kind.EVALUATION
    if storage.exists(storage.sibling(uri, ".manifest.json")) or any(n.endswith((".parquet", ".pq")) for n in names):
        return Kind.FEATURES
    return Kind.FILES if names else Kind.NOTHING


def refuse_others(uri: storage.Uri, wanted: Kind, *, option: str, files: bool = False) -> None:
    """Raise DataError unless ``uri`` holds nothing, or what is ``wanted`` there already.

    ``files``: files that are nothing of ours are no obstacle.
    """
    found = what_is(uri)
    if found in (Kind.NOTHING, wanted) or (files and found is Kind.FILES):
        return
    raise DataError(
        f"{option} is {storage.open_location(uri).uri}, which holds {found.value}; "
        f"want a new or empty folder, or {wanted.value} (change {option})"
    )
