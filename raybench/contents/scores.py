"""What a score table holds: dates, rows, coverage and runs, from the footers of its files; no score is read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from raybench.contents.size import megabytes
from raybench.contents.years import by_year, far_apart
from raybench.errors import DataError
from raybench.scoring.audit import last_job
from raybench.scoring.table import DateFacts, nothing_in, scored_dates
from raybench.storage import files


def scores_contents(uri: str) -> dict[str, Any]:
    """Describe the score table at ``uri``."""
    place = files.open_location(uri).uri
    facts = scored_dates(place)
    if not facts:
        raise DataError(nothing_in(place))
    job = last_job(place) or {}
    inputs = job.get("inputs") or {}
    days = np.array(list(facts), "datetime64[D]")
    rows_D = np.array([each.rows for each in facts.values()], np.int64)
    coverage_D = np.array([np.nan if each.coverage is None else each.coverage for each in facts.values()], np.float64)
    runs = Counter(each.run_id for each in facts.values())
    known = coverage_D[~np.isnan(coverage_D)]
    return {
        "scores": place,
        "first": days[0],
        "last": days[-1],
        "dates": len(days),
        "rows": int(rows_D.sum()),
        "rows_by_date": int(np.median(rows_D)),
        "lowest_coverage": round(float(known.min()), 4) if len(known) else None,
        "far_apart": far_apart(days),
        "megabytes": megabytes(place),
        "versions": _versions(facts.values(), job),
        "bars": inputs.get("bars"),
        "bars_fingerprint": inputs.get("bars_fingerprint"),
        "features_fingerprint": inputs.get("features_fingerprint"),
        "runs": [{"run_id": run, "dates": count, **_span(run, facts)} for run, count in runs.most_common()],
        "years": by_year(days, {"rows": rows_D}, {"lowest_coverage": coverage_D}),
    }


def _versions(facts: Iterable[DateFacts], job: Mapping[str, Any]) -> dict[str, Any]:
    """Of the layout, as the footers say, and of the raybench that was last to write to the table, if it left a line."""
    layouts = sorted({str(each.extra["schema_version"]) for each in facts if "schema_version" in each.extra})
    return {"schema": ", ".join(layouts) or None, "raybench": job.get("raybench")}


def _span(run: str, facts: Any) -> dict[str, Any]:
    days = [day for day, each in facts.items() if each.run_id == run]
    return {"first": min(days), "last": max(days)}
