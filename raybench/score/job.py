"""Scoring days one by one: forward passes, combination, publication. What a scoring process runs, with Ray or not.

The files of a few days are written while the next day is computed: to force a file to disk, or to put it on
S3, is waiting, not work.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np

from raybench.score.ensemble import combine
from raybench.score.predictor import MomentScores, Predictor, repeatable
from raybench.score.table import write_date

WRITERS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Where scores go and what they must cover.

    ``members``: the universe's members on each day that is to be scored; empty where nobody knows. ``usual``: how
    many should have a score, of which ``min_coverage`` is a share; the members where it does not say.
    """

    to: str
    run_id: str
    members: Mapping[str, int]
    usual: Mapping[str, int] = field(default_factory=dict)
    min_coverage: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class DayResult:
    """What became of a day. ``coverage``: share of the universe with a score, None where nobody knows.

    ``usual``: how many should have a score (by datetime, where a day has several); 0 where nobody knows. ``low``: left
    out because too few have one.
    """

    day: str
    rows: int
    coverage: float | None
    written: bool
    usual: int = 0
    low: bool = False


class DayScorer:
    """Scores days with one or several runs and publishes each as a whole."""

    def __init__(self, predictors: Sequence[Predictor], target: Target) -> None:
        self._predictors = predictors
        self._target = target

    def score_days(self, days: Iterable[np.datetime64]) -> Iterator[DayResult]:
        """Score and publish each of ``days``, in order; a day is out when its result is."""
        with repeatable(), ThreadPoolExecutor(WRITERS) as writers:
            pending: deque[Future[DayResult]] = deque()
            for day in days:
                pending.append(writers.submit(self._publish, day, self._score(day)))
                while len(pending) > WRITERS or (pending and pending[0].done()):
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()

    def _score(self, day: np.datetime64) -> list[MomentScores]:
        """Score each datetime of a day for which every run has windows."""
        by_moment: dict[np.datetime64, list[MomentScores]] = {}
        for predictor in self._predictors:
            for scores in predictor.score_between(day, day + 1):
                by_moment.setdefault(scores.moment, []).append(scores)
        whole = (by_moment[moment] for moment in sorted(by_moment))
        combined = (combine(scores) for scores in whole if len(scores) == len(self._predictors))
        return [scores for scores in combined if len(scores.score_N)]

    def _publish(self, day: np.datetime64, moments: Sequence[MomentScores]) -> DayResult:
        rows = sum(len(scores.score_N) for scores in moments)
        members = self._target.members.get(str(day))
        coverage = rows / (members * max(len(moments), 1)) if members else None
        usual = self._target.usual.get(str(day), members or 0)
        low = rows < self._target.min_coverage * usual * max(len(moments), 1)
        written = rows > 0 and not low
        if written:
            facts = {"coverage": coverage, "members": members}
            write_date(self._target.to, day, columns_of(moments), self._target.run_id, facts)
        return DayResult(day=str(day), rows=rows, coverage=coverage, written=written, usual=usual, low=low)


def columns_of(moments: Sequence[MomentScores]) -> dict[str, np.ndarray]:
    """Lay the scores of several datetimes below each other: instrument, datetime, score."""
    return {
        "instrument": np.concatenate([scores.instrument_N for scores in moments]),
        "datetime": np.concatenate([np.repeat(scores.moment, len(scores.score_N)) for scores in moments]),
        "score": np.concatenate([scores.score_N for scores in moments]),
    }
