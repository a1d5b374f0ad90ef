"""An ensemble beside its members: what each run's own scores are worth on the dates of the ensemble's."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from raybench.evaluation.evaluation import Evaluation, daily_correlations
from raybench.evaluation.label_table import LabelTable
from raybench.metrics import signal

ENSEMBLE = "ensemble"
FIGURES = ("IC", "ICIR", "Rank IC", "Rank ICIR")


def compare_members(
    members: pd.DataFrame, labels: LabelTable, result: Evaluation, named: Mapping[str, str]
) -> pd.DataFrame:
    """One row for the ensemble, then one for each member, best Rank IC first: member, run_id, dates and FIGURES.

    ``members`` as `read_members` gives them; ``named`` says what runs are called. Only datetimes count that all of them
    have and that are not in sample, for the ensemble as well.
    """
    runs = [name for name in members.columns if name not in ("instrument", "datetime")]
    daily = {}
    for run_id in runs:
        own = members[["instrument", "datetime", run_id]].rename(columns={run_id: "score"}).dropna(subset="score")
        daily[run_id] = daily_correlations(own, labels).set_index("datetime")
    common = result.unseen.set_index("datetime")
    for each in daily.values():
        common = common.loc[common.index.intersection(each.index)]
    alone = pd.DataFrame(
        [
            {"member": named.get(run_id, run_id), "run_id": run_id, "dates": len(common)}
            | _figures(each.loc[common.index])
            for run_id, each in daily.items()
        ]
    ).sort_values("Rank IC", ascending=False, ignore_index=True)
    together = pd.DataFrame([{"member": ENSEMBLE, "run_id": None, "dates": len(common)} | _figures(common)])
    return pd.concat([together, alone], ignore_index=True)


def _figures(daily: pd.DataFrame) -> dict[str, float]:
    ic_T, rank_ic_T = daily["ic"].to_numpy(np.float64), daily["rank_ic"].to_numpy(np.float64)
    nothing_T = np.full(len(daily), np.nan)
    found = signal.summary(ic_T, rank_ic_T, nothing_T, nothing_T)
    return {name: found[name] for name in FIGURES}
