"""What lies at an address, told by the names in its folder, and refused where something else is to be written.

One listing of the folder and at most one question more; nothing is opened. A folder that its command did not
finish counts as what it was going to be.

A command deletes and replaces what it wrote, so its target is refused where somebody else's things have the names of
its own (``WRITTEN``), and where it lies in what others read, or clear away, as a whole.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
from collections.abc import Iterator, Mapping
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


PAGE = "report.html"
MARKS = (b'<meta name="generator" content="raybench">', b"--fifth-1:")
"""One of them is in the head of every page of ours, the second alone in older ones."""

_REPORT = (PAGE, "report.json")
WRITTEN: Mapping[Kind, tuple[str, ...]] = {
    Kind.RUN: (
        *("config.yaml", "manifest.json", "metrics.json", "model.safetensors", "memory.safetensors"),
        *("processors.json", "second_processors.json", "checkpoints", "checkpoints.staging", "tensorboard"),
    ),
    Kind.RUNS: ("seeds.parquet",),
    Kind.SEARCH: (SEARCH, "search.json", "trials", "trials.parquet", "best", "scores", "evaluation", "ray", *_REPORT),
    Kind.BENCH: (BENCH, "runs", "results.parquet", "daily.parquet", "scores", "evaluation", "table.csv", *_REPORT),
    Kind.EVALUATION: ("metrics.json", "daily.parquet", *_REPORT),
    Kind.EXPLANATION: ("explain.json", PAGE),
    Kind.COMPARISON: ("table.csv", "table.md", *_REPORT),
}
"""What a command puts right into a folder of its kind, beside somebody's notes if need be."""

_WHOLE = (Kind.BARS, Kind.FEATURES, Kind.SCORES)  # all that lies in them is read, or cleared away
_WITHIN = {  # what may lie in a run, a search or a bench: what is said of it
    **dict.fromkeys((Kind.EVALUATION, Kind.EXPLANATION, Kind.COMPARISON), "evaluation"),
    Kind.SCORES: "scores",
    Kind.FILE: "",
}
PART = re.compile(r"part-.+-\d{5}-[0-9a-f]{16}\.parquet")
"""What the parts of a feature table are called."""
_CHECKPOINT = re.compile(r"checkpoint_\d{4}-\d\d-\d\d_.+")
_PAGES = (Kind.EVALUATION, Kind.EXPLANATION, Kind.COMPARISON)  # told by names that others use as well


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
    if {"table.csv", PAGE} <= names:
        return Kind.COMPARISON
    if {"explain.json", PAGE} <= names:
        return Kind.EXPLANATION
    if {"metrics.json", PAGE} <= names or {"daily.parquet", PAGE} <= names:
        return Kind.EVALUATION
    tables = any(name.endswith((".parquet", ".pq")) for name in names)
    if tables and PAGE in names:  # the page comes first
        return Kind.EXPLANATION
    if storage.exists(storage.sibling(uri, ".manifest.json")):
        return Kind.FEATURES
    if "market" in names and ("bars" in names or len(names) == 1) and _is_market(storage.join(uri, "market")):
        return Kind.DEMO
    if tables:
        return Kind.TABLES
    if names:
        return Kind.FILES
    storage.refuse_missing_bucket(uri)
    return Kind.NOTHING


def _is_market(uri: str) -> bool:
    return {name for name in storage.children(uri) if not name.startswith(".")} <= {"market.parquet"}


def refuse_below_a_file(uri: storage.Uri, *, option: str) -> None:
    """Raise DataError where a file lies in the way of a local folder that would have to be made for ``uri``."""
    place = storage.open_location(uri)
    above = Path(place.path).parents if place.local else ()  # an object store has no folders to make
    there = next((folder for folder in above if os.path.lexists(folder)), None)
    if there is not None and not os.path.isdir(there):
        raise DataError(
            f"{option} is {place.uri}, and {there} is a file, not a folder; choose another place ({option})"
        )


def refuse_unwritable(uri: storage.Uri, *, option: str) -> None:
    """Raise DataError where a local folder that ``uri`` is, or would be made in, may not be written by this process.

    Asked before the work, whose result would have nowhere to go: on a disk that is read only, root may not either.
    """
    place = storage.open_location(uri)
    folders = [Path(place.path), *Path(place.path).parents] if place.local else []
    folder = next((each for each in folders if each.is_dir()), None)
    if folder is None or os.access(folder, os.W_OK | os.X_OK, effective_ids=os.access in os.supports_effective_ids):
        return
    read_only = os.statvfs(folder).f_flag & os.ST_RDONLY
    why = os.strerror(errno.EROFS if read_only else errno.EACCES)
    raise DataError(f"{option} is {place.uri}, and {folder} cannot be written: {why}; choose another place ({option})")


def refuse_others(uri: storage.Uri, wanted: Kind, *, option: str, files: bool = False) -> None:
    """Raise DataError unless ``uri`` holds nothing, or what is ``wanted`` there already, and may be written if it will.

    ``files``: files that are nothing of ours are no obstacle, unless they have names of what is to be written. What is
    not there yet is refused within a dataset, a table, a search or a run, but for what is said of it. What is there
    and finished need not be writable, but for what is made anew each time.
    """
    place = storage.open_location(uri)
    refuse_below_a_file(uri, option=option)
    found = what_is(uri)
    if found is wanted:
        if wanted in _PAGES:
            _refuse_names(place.uri, wanted, option)
            refuse_unwritable(uri, option=option)
        return
    if files and found is Kind.FILES:
        _refuse_names(place.uri, wanted, option)
    elif not (found is Kind.NOTHING or _is_left(place.uri, found, wanted)):
        verb = "is" if found is Kind.FILE else "holds"
        raise DataError(
            f"{option} is {place.uri}, which {verb} {found.value}; "
            f"want a new or empty folder, or {wanted.value} (change {option})"
        )
    refuse_within(place.uri, wanted, option=option)
    refuse_unwritable(uri, option=option)


def _is_left(uri: str, found: Kind, wanted: Kind) -> bool:
    """Whether what was found is what remained of ``wanted``: parts of a feature table whose manifest went."""
    if (found, wanted) != (Kind.TABLES, Kind.FEATURES):
        return False
    names = [name for name in storage.children(uri) if not name.startswith(".")]
    return all(map(PART.fullmatch, names))


def _refuse_names(uri: str, wanted: Kind, option: str) -> None:
    """Refuse a folder in which somebody else's things have names that are written there, and are deleted."""
    there = [name for name in storage.children(uri) if name in WRITTEN.get(wanted, ())]
    if there == ["checkpoints"] and has_our_checkpoints(uri):  # whose they are is asked by who trains
        return
    if not there or (PAGE in there and has_our_page(uri)):
        return
    named = f"{', '.join(there[:-1])} and {there[-1]}" if there[1:] else there[0]
    raise DataError(
        f"{option} is {uri}, which holds {named}, and what is written there has names like that; "
        f"want a new or empty folder, or {wanted.value} (change {option})"
    )


def has_our_checkpoints(uri: str) -> bool:
    """Whether the checkpoints in a folder are of a training, of which nothing else is left."""
    folder = storage.join(uri, "checkpoints")
    names = [name for name in storage.children(folder) if name.startswith("checkpoint_")]
    return any(storage.exists(storage.join(folder, name, "facts.json")) for name in names)


def has_our_page(uri: str) -> bool:
    """Whether the page in a folder is one that raybench wrote, as a command that was interrupted leaves it."""
    with storage.open_input(storage.join(uri, PAGE)) as stream:
        head = bytes(stream.read(2000))
    return any(mark in head for mark in MARKS)


def refuse_within(uri: storage.Uri, wanted: Kind, *, option: str) -> None:
    """Raise DataError where ``uri``, which is to be ``wanted``, would lie within something else of ours.

    What raybench reads or clears as a whole holds nothing else. A run, a search and a bench may hold what is said of
    them, under names that are not their own.
    """
    place = storage.open_location(uri)
    for above, below in _above(place):
        with contextlib.suppress(DataError):  # a folder that may not be listed says nothing
            kind = _surely(above)
            if kind is None:
                continue
            if kind in _WHOLE or not _may_hold(kind, wanted, below):
                break
            if kind is Kind.RUN:
                return  # a search or a bench has its runs within
    else:
        return
    raise DataError(
        f"{option} is {place.uri}, which lies in {above}, and that is {kind.value}; want a place outside of it "
        f"(change {option})"
    )


def _may_hold(kind: Kind, wanted: Kind, below: str) -> bool:
    first = below.partition("/")[0]
    return wanted in _WITHIN and (first not in WRITTEN[kind] or (first == _WITHIN[wanted] and kind is not Kind.RUN))


def _above(place: storage.Location) -> Iterator[tuple[str, str]]:
    """The folders that a place lies in, the nearest first, each with the way from it to the place."""
    path, root = place.path.rstrip("/"), "" if place.local else "s3://"
    if place.local:
        path = os.path.realpath(path)
    parts = path.split("/")
    for depth in range(len(parts) - 1, 0, -1):
        above = "/".join(parts[:depth])
        if above:
            yield root + above, "/".join(parts[depth:])


def _surely(uri: str) -> Kind | None:
    """What a folder is that something is to be put into; None unless several names say so.

    A folder of somebody's project may hold a config.yaml, a manifest.json or a metadata.json of its own.
    """
    names = set(storage.children(uri))
    if {METADATA, "bars", "calendar"} <= names or {STAGING, "bars"} <= names:
        return Kind.BARS
    if SEARCH in names and names & {"search.json", "trials.parquet", "trials"}:
        return Kind.SEARCH
    if BENCH in names and names & {"runs", "results.parquet"}:
        return Kind.BENCH
    if {"config.yaml", "manifest.json", "model.safetensors"} <= names:
        return Kind.RUN
    if {"config.yaml", "checkpoints"} <= names and _are_checkpoints(storage.join(uri, "checkpoints")):
        return Kind.RUN
    if any(map(_DATE.fullmatch, names)):
        return Kind.SCORES
    if any(map(PART.fullmatch, names)):
        return Kind.FEATURES
    named = "/" in storage.open_location(uri).path  # a bucket has nothing beside it
    return Kind.FEATURES if named and _is_manifest(storage.sibling(uri, ".manifest.json")) else None


def _are_checkpoints(uri: str) -> bool:
    return any(map(_CHECKPOINT.fullmatch, storage.children(uri)))


def _is_manifest(uri: str) -> bool:
    data = storage.read_if_there(uri)
    with contextlib.suppress(ValueError, RecursionError):
        said = None if data is None else json.loads(data)
        return isinstance(said, dict) and "state" in said and "request" in said
    return False
