"""What a feature table holds, one of raybench or anyone's. Every value is read once, for the share of NaN."""

from __future__ import annotations

from typing import Any

import numpy as np

from raybench.contents.size import megabytes
from raybench.contents.years import by_year, far_apart
from raybench.feature_sets.table import FeatureTable, open_features, read_manifest
from raybench.feature_sets.table_columns import told
from raybench.progress import Progress
from raybench.storage import parquet

MOST_NAN = 8  # columns that are named, those with most NaN


def features_contents(uri: str, progress: Progress) -> dict[str, Any]:
    """Describe the feature table at ``uri``."""
    table = open_features(uri)
    manifest = read_manifest(table.uri)
    moments, rows_T = table.rows_by_date()
    days, at = np.unique(moments.astype("datetime64[D]"), return_inverse=True)
    rows_D = np.zeros(len(days), np.int64)
    np.maximum.at(rows_D, at, rows_T)  # of several points in time in a day, the most
    shares = _nan_shares(table, progress)
    request = {} if manifest is None else manifest["request"]
    return {
        "features": table.uri,
        "made_by": "raybench features" if table.parts else "somebody else",
        "sets": list(request.get("set", ())),
        "columns": len(table.columns),
        "label": table.label,
        "label_nan_share": None if table.label is None else shares.pop(table.label),
        "first": moments[0],
        "last": moments[-1],
        "dates": len(moments),
        "days": len(days),
        "instruments": len(table.instruments()),
        "rows": int(rows_T.sum()),
        "nan_share": round(float(np.mean(list(shares.values()))), 4),
        "far_apart": far_apart(days),
        "files": len(table.files),
        "megabytes": round(sum(map(megabytes, table.files)), 3),
        "fingerprint": table.fingerprint,
        "versions": None if manifest is None else {"schema": manifest["schema_version"]},
        "universe": request.get("universe"),
        "bars": None if manifest is None else manifest.get("bars", {}).get("uri"),
        "bars_fingerprint": request.get("bars"),
        "no_features": told(table.others) if table.others else None,
        "names": list(table.columns),
        "most_nan": [
            {"column": name, "nan_share": share}
            for name, share in sorted(shares.items(), key=lambda item: -item[1])[:MOST_NAN]
            if share
        ],
        "years": by_year(days, {"rows": rows_D}),
    }


def _nan_shares(table: FeatureTable, progress: Progress) -> dict[str, float]:
    """The share of NaN or null in each column."""
    names = [*table.columns, *([table.label] if table.label else [])]
    nan, rows = dict.fromkeys(names, 0), 0
    with progress.track("features", len(table.files)) as advance:
        for file in table.files:
            for batch in parquet.batches(file, names):
                rows += batch.num_rows
                for name in names:
                    value_R = batch.column(name).to_numpy(zero_copy_only=False).astype(np.float64, copy=False)
                    nan[name] += int(np.isnan(value_R).sum())
            advance()
    return {name: round(count / rows, 4) if rows else 0.0 for name, count in nan.items()}
