"""What lies at an address, told by its kind: whoever asks need not know which command wrote it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from raybench.contents.size import megabytes
from raybench.errors import DataError
from raybench.progress import SILENT, Progress
from raybench.storage import files
from raybench.storage.places import Kind, what_is


@dataclass(frozen=True, slots=True, kw_only=True)
class Contents:
    """What was found: figures by name, tables among them as lists of rows."""

    kind: Kind
    uri: str
    values: Mapping[str, Any]


def describe(uri: str, *, progress: Progress = SILENT, warn: Callable[[str], None] = lambda _: None) -> Contents:
    """Describe what lies at ``uri``, a local path or s3://; DataError or RunError if that is nothing, or damaged."""
    place = files.open_location(uri).uri
    if not files.exists(place):
        raise DataError(f"{uri} is not there; want a dataset, a table or a run, local or s3://")
    kind = what_is(place)
    if kind is Kind.NOTHING:
        raise DataError(f"{uri} is an empty folder; want a dataset, a table or a run")
    if kind is Kind.FILE and not place.lower().endswith((".parquet", ".pq")):
        raise DataError(f"{uri} is a file; want a folder, or a Parquet table (raybench check reads configurations)")
    return Contents(kind=kind, uri=place, values=_values(kind, place, progress, warn))


def _values(kind: Kind, place: str, progress: Progress, warn: Callable[[str], None]) -> dict[str, Any]:
    """Each kind by a module of its own, loaded when it is met."""
    match kind:
        case Kind.BARS:
            from raybench.contents.bars import bars_contents

            return bars_contents(place, progress)
        case Kind.FEATURES | Kind.TABLES | Kind.FILE:
            from raybench.contents.features import features_contents

            return features_contents(place, progress)
        case Kind.SCORES:
            from raybench.contents.scores import scores_contents

            return scores_contents(place)
        case Kind.RUN:
            from raybench.contents.runs import run_contents

            return run_contents(place)
        case Kind.RUNS:
            from raybench.contents.runs import runs_contents

            return runs_contents(place, warn)
        case Kind.SEARCH:
            from raybench.contents.searches import search_contents

            return search_contents(place)
        case Kind.BENCH:
            from raybench.contents.searches import bench_contents

            return bench_contents(place)
    return _folder(kind, place)


def _folder(kind: Kind, place: str) -> dict[str, Any]:
    """What any folder can be asked: its metrics, if it has some, and what is in it."""
    sizes = files.sizes(place)
    metrics = _metrics(files.join(place, "metrics.json")) if kind is Kind.EVALUATION else {}
    inside = [{"name": name, "kind": what_is(files.join(place, name)).value} for name in files.children(place)]
    return {
        "folder": place,
        **metrics,
        "report": files.join(place, "report.html") if "report.html" in sizes else None,
        "files": len(sizes),
        "megabytes": megabytes(place),
        "inside": [each for each in inside if each["kind"] != Kind.FILE.value],
    }


def _metrics(uri: str) -> dict[str, Any]:
    if not files.exists(uri):
        return {}
    try:
        found = json.loads(files.read_bytes(uri))
    except (ValueError, RecursionError) as error:
        raise DataError(f"{uri}: is not JSON ({error}); evaluate again") from None
    return dict(found) if isinstance(found, dict) else {}
