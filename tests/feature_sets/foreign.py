"""A feature table that somebody else has made."""

from __future__ import annotations

import pandas as pd


def foreign() -> pd.DataFrame:
    """Somebody's table: float64, whole numbers, a text column, nulls, rows in no order."""
    return pd.DataFrame(
        {
            "comment": ["x", "y", "z", "w"],
            "datetime": pd.to_datetime(["2024-01-03", "2024-01-02", "2024-01-02", "2024-01-03"]),
            "instrument": ["B", "B", "A", "A"],
            "alpha": [1.5, None, 3.0, 4.0],
            "count": [1, 2, 3, 4],
            "LABEL0": [0.1, 0.2, 0.3, 0.4],
        }
    )
