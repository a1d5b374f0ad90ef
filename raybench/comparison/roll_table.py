"""What each configuration is worth in each roll, as a table: mean and sample standard deviation over its seeds."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from raybench.comparison.published import Figure
from raybench.comparison.table import SHOWN, written
from raybench.reports.html import Table


def roll_tables(results: pd.DataFrame, order: Sequence[str]) -> list[Table]:
    """The table of the fits that ended well; none where segments do not roll."""
    fits = results[results["roll"].notna() & results["error"].isna()]
    if fits.empty:
        return []
    rows = [
        [name, str(roll), str(len(own)), *(written(_figure(own[metric]), metric) for metric in SHOWN)]
        for name in order
        for roll, own in fits[fits["name"] == name].groupby("roll")
    ]
    return [
        Table(
            name="By roll",
            means="Mean and sample standard deviation over the seeds of a roll, which is called by its first test "
            "date. Each is trained anew on the dates before it.",
            columns=["configuration", "roll", "fits", *SHOWN],
            rows=rows,
        )
    ]


def _figure(values: pd.Series[float]) -> Figure:
    known = values.dropna().to_numpy(np.float64)
    mean = float(known.mean()) if known.size else np.nan
    return Figure(mean, float(known.std(ddof=1)) if known.size > 1 else np.nan, int(known.size))
