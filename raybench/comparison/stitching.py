"""The scores of rolls as one score table: each date by the runs whose test segment it lies in.

What a fit scored of its test dates lies beside its run, ``test_scores.parquet``: instrument, datetime, score, and the
share of the universe that the date has. The seeds of a roll are an ensemble: the mean of their standardised scores
(``scoring.ensemble``), under an id of their own. What each seed said lies beside the table as that of any ensemble does
(``scoring.members``), by seed: a run is of one roll, a seed of all.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby

import numpy as np
import pandas as pd
import pyarrow as pa

from raybench.comparison.fits import Fit
from raybench.comparison.on_test import TestResult
from raybench.evaluation.origin import ScoresOrigin
from raybench.runs.artifact import StoredRun, load_run
from raybench.scoring.ensemble import combine, ensemble_id
from raybench.scoring.job import columns_of, scores_for
from raybench.scoring.members import write_members
from raybench.scoring.predictor import MomentScores
from raybench.scoring.table import write_date
from raybench.storage import files, parquet

TEST_SCORES = "test_scores.parquet"
COLUMNS = ("instrument", "datetime", "score", "coverage")


def keep_scores(run: str, found: TestResult) -> None:
    """Publish what a run scored of its test dates beside it."""
    daily = found.evaluation.daily
    coverage = daily.set_index("datetime")["coverage"] if "coverage" in daily else pd.Series(dtype=np.float64)
    table = found.scores.assign(coverage=found.scores["datetime"].map(coverage).astype(np.float64))
    files.publish_table(
        files.join(run, TEST_SCORES), pa.Table.from_pandas(table[list(COLUMNS)], preserve_index=False), metadata={}
    )


def stitch(out: str, fits: Sequence[Fit], to: str) -> ScoresOrigin:
    """Write the scores of finished ``fits``, all of one name and ordered by roll, into the table ``to``.

    Returns where they come from: the first run of each roll stands for it.
    """
    runs: list[StoredRun] = []
    learned_until: dict[str, np.datetime64] = {}
    for _, seeds in groupby(fits, key=lambda fit: fit.roll):
        members = list(seeds)
        opened = [load_run(files.join(out, fit.folder), trust=True) for fit in members]
        run_id = ensemble_id([run.run_id for run in opened])
        parts = [_parts(files.join(out, fit.folder)) for fit in members]
        for day, moments, coverage in _combined(parts):
            facts = {"roll": members[0].roll, "coverage": coverage}
            columns = columns_of(moments)
            if len(members) > 1:
                said = {f"seed {fit.seed}": _said(own, moments) for fit, own in zip(members, parts, strict=True)}
                write_members(to, day, columns, said, run_id)
            write_date(to, day, columns, run_id, facts)
        runs.append(opened[0])
        learned_until[run_id] = np.datetime64(members[0].config.data.segments.valid[1], "D")
    return ScoresOrigin(runs=tuple(runs), learned_until=learned_until)


def _said(part: Mapping[pd.Timestamp, tuple[MomentScores, float]], moments: Sequence[MomentScores]) -> np.ndarray:
    """What one member said [R] of all instruments of combined ``moments``."""
    own = [scores_for(each.instrument_N, part[pd.Timestamp(str(each.moment))][0]) for each in moments]
    return np.concatenate(own)


def _parts(run: str) -> Mapping[pd.Timestamp, tuple[MomentScores, float]]:
    """The scores of a run by datetime, with their coverage."""
    table = parquet.read_table(files.join(run, TEST_SCORES), list(COLUMNS)).to_pandas()
    found = {}
    for moment, rows in table.sort_values("instrument").groupby("datetime"):
        scores = MomentScores(
            moment=np.datetime64(moment, "us"),
            instrument_N=rows["instrument"].to_numpy(dtype=np.str_),
            score_N=rows["score"].to_numpy(dtype=np.float32),
        )
        found[pd.Timestamp(str(moment))] = scores, float(rows["coverage"].iloc[0])
    return found


def _combined(
    parts: Sequence[Mapping[pd.Timestamp, tuple[MomentScores, float]]],
) -> Iterator[tuple[np.datetime64, list[MomentScores], float | None]]:
    """Day by day what all members score, as one, and the least coverage among them."""
    shared = sorted(set(parts[0]).intersection(*parts[1:]))
    for day, moments in groupby(shared, key=lambda moment: moment.normalize()):
        combined: list[MomentScores] = []
        shares: list[float] = []
        for moment in moments:
            scores, coverage = zip(*(part[moment] for part in parts), strict=True)
            one = combine(scores)
            if len(one.score_N):
                combined.append(one)
                shares += coverage
        known = [share for share in shares if share == share]
        if combined:
            yield np.datetime64(day, "D"), combined, min(known, default=None)
