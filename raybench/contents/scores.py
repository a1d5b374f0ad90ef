"""What a score table holds: dates, rows, coverage and runs, from the footers of its files; no score is read."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np

from raybench.contents.size import megabytes
from raybench.contents.years import by_year, far_apart
from raybench.scoring.table import scored_dates
from raybench.storage import files


def scores_contents(uri: str) -> dict[str, Any]:
    """Describe the score table at ``uri``."""
    place = files.open_location(uri).uri
    facts = scored_dates(place)
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
        "runs": [{"run_id": run, "dates": count, **_span(run, facts)} for run, count in runs.most_common()],
        "years": by_year(days, {"rows": rows_D}, {"lowest_coverage": coverage_D}),
    }


def _span(run: str, facts: Any) -> dict[str, Any]:
    days = [day for day, each in facts.items() if each.run_id == run]
    return {"first": min(days), "last": max(days)}
