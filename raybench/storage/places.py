"""What lies at an address, told by the names in its folder, and refused where something else is to be written.

One listing of the folder and at most one question more; nothing is opened. A folder that its command did not
finish counts as what it was going to be.
"""

from __future__ import annotations

import os
import re
from enum import Enum
from pathlib import Path

from raybench.errors import DataError
from raybench.storage import files as storage

METADATA = "metadata.json"
"""The one file that makes a folder a bars dataset."""

SEARCH = "search.yaml"
"""The configuration that a folder is a search of."""

BENCH = "bench.json"
"""What a folder that is a bench was asked for."""

STAGING = ".staging"
"""Where an import prepares files; it stays in the folder of one that was killed."""

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
    SEARCH = "a search"
    BENCH = "a bench"
    DEMO = "a demo"
    EVALUATION = "an evaluation"
    EXPLANATION = "an explanation"
    COMPARISON = "a comparison"
    TABLES = "Parquet files that raybench did not write"
    FILES = "other files"
    FILE = "a file"


def what_is(uri: storage.Uri) -> Kind:
    """Tell what the folder ``uri`` is. An empty one, and one of hidden files alone, is nothing.

    DataError if it lies in a bucket that is not there.
    """
    if storage.exists(uri) and not storage.is_folder(uri):
        return Kind.FILE
    listed = set(storage.children(uri))
    names = {name for name in listed if not name.startswith(".")}
    begun = names and names <= {"bars", "calendar", "universe"} and (STAGING in listed or STAGING * 2 in listed)
    if METADATA in names or begun or {"bars", "calendar"} <= names:
        return Kind.BARS
    if SEARCH in names:
        return Kind.SEARCH
    if BENCH in names:
        return Kind.BENCH
    if "manifest.json" in names or "config.yaml" in names:
        return Kind.RUN
    if any(map(_SEED.fullmatch, names)):
        return Kind.RUNS
    if any(map(_DATE.fullmatch, names)):
        return Kind.SCORES
    if {"table.csv", "report.html"} <= names:
        return Kind.COMPARISON
    if "explain.json" in names:
        return Kind.EXPLANATION
    if {"metrics.json", "report.html"} <= names or {"daily.parquet", "report.html"} <= names:
        return Kind.EVALUATION
    tables = any(name.endswith((".parquet", ".pq")) for name in names)
    if tables and "report.html" in names:  # the page comes first
        return Kind.EXPLANATION
    if storage.exists(storage.sibling(uri, ".manifest.json")):
        return Kind.FEATURES
    if "market" in names and ("bars" in names or len(names) == 1):
        return Kind.DEMO
    if tables:
        return Kind.TABLES
    if names:
        return Kind.FILES
    storage.refuse_missing_bucket(uri)
    return Kind.NOTHING


def refuse_below_a_file(uri: storage.Uri, *, option: str) -> None:
    """Raise DataError where a file lies in the way of a local folder that would have to be made for ``uri``."""
    place = storage.open_location(uri)
    above = Path(place.path).parents if place.local else ()  # an object store has no folders to make
    there = next((folder for folder in above if os.path.lexists(folder)), None)
    if there is not None and not os.path.isdir(there):
        raise DataError(
            f"{option} is {place.uri}, and {there} is a file, not a folder; choose another place ({option})"
        )


def refuse_others(uri: storage.Uri, wanted: Kind, *, option: str, files: bool = False) -> None:
    """Raise DataError unless ``uri`` holds nothing, or what is ``wanted`` there already.

    ``files``: files that are nothing of ours are no obstacle.
    """
    place = storage.open_location(uri)
    refuse_below_a_file(uri, option=option)
    found = what_is(uri)
    if found in (Kind.NOTHING, wanted) or (files and found is Kind.FILES):
        return
    verb = "is" if found is Kind.FILE else "holds"
    raise DataError(
        f"{option} is {place.uri}, which {verb} {found.value}; "
        f"want a new or empty folder, or {wanted.value} (change {option})"
    )
