"""Scoring days one by one: forward passes, combination, publication. What a scoring process runs, with Ray or not.

The files of a few days are written while the next day is computed: to force a file to disk, or to put it on
S3, is waiting, not work.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from raybench.panel.row_hashes import RowHashes
from raybench.reports.text import numbered
from raybench.scoring.ensemble import Way, combine
from raybench.scoring.gaps import Gaps, worst
from raybench.scoring.made_from import distinct, facts_of
from raybench.scoring.members import write_members
from raybench.scoring.predictor import MomentScores, Predictor, repeatable
from raybench.scoring.table import date_uri, write_date
from raybench.storage.versions import ABSENT, OtherVersionError, version

WRITERS = 4

Write = Callable[[np.datetime64, dict[str, np.ndarray], Mapping[str, Any]], bool | None]
"""Takes a day, its columns instrument, datetime and score, and what is known of it; several days at a time.

False: the very same was there already.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Where scores go and what they must cover.

    ``members``: the universe's members on each day that is to be scored; empty where nobody knows. ``usual``: how
    many should have a score, of which ``min_coverage`` is a share; the members where it does not say. ``gaps``: what
    days lack of their data, of which the same share has to be there. ``combine``: how several runs become one.
    ``run_ids``: the runs, where what each said is kept beside the table.
    ``hashes``: of the rows that are read. ``before``: the version (``storage.versions``) of each day that is there and
    is to be replaced; of any other day nothing is. None: whatever is there is replaced.
    """

    to: str
    run_id: str
    members: Mapping[str, int]
    usual: Mapping[str, int] = field(default_factory=dict)
    gaps: Gaps = field(default_factory=dict)
    min_coverage: float = 0.0
    combine: Way = "scores"
    run_ids: tuple[str, ...] = ()
    hashes: tuple[RowHashes, ...] = ()
    before: Mapping[str, str] | None = None

    def over(self, day: np.datetime64) -> str | None:
        """What a day may take the place of."""
        return None if self.before is None else self.before.get(str(day), ABSENT)

    def knowing(self, gaps: Gaps, hashes: Collection[RowHashes] = ()) -> Target:
        """The same with these gaps and hashes of a panel too."""
        return replace(self, gaps=worst([self.gaps, gaps]), hashes=distinct([self.hashes, hashes]))


@dataclass(frozen=True, slots=True, kw_only=True)
class DayResult:
    """What became of a day. ``coverage``: share of the universe with a score, None where nobody knows.

    ``usual``: how many should have a score (by datetime, where a day has several); 0 where nobody knows. ``low``: left
    out because too few have one, or too little of its data is there. ``why``: what there is too little of, in words.
    ``twin``: the very same was there by then, from another process. ``superseded``: something else was, and stays.
    ``equal``: several have a score, at each of its moments all of them the same.
    """

    day: str
    rows: int
    coverage: float | None
    written: bool
    usual: int = 0
    low: bool = False
    why: str = ""
    twin: bool = False
    superseded: bool = False
    equal: bool = False


class DayScorer:
    """Scores days with one or several runs and publishes each as a whole, or hands it to ``write`` instead."""

    def __init__(self, predictors: Sequence[Predictor], target: Target, write: Write | None = None) -> None:
        self._predictors = predictors
        self._target = target
        self._write = write or self._to_table

    def score_days(self, days: Iterable[np.datetime64], *, in_order: bool = False) -> Iterator[DayResult]:
        """Score and publish each of ``days``, in order; a day is out when its result is.

        ``in_order``: a day is begun when whoever takes the results has dealt with the one before.
        """
        with repeatable(), ThreadPoolExecutor(WRITERS) as writers:
            if in_order:
                yield from (self._publish(day, *self._score(day)) for day in days)
                return
            pending: deque[Future[DayResult]] = deque()
            for day in days:
                pending.append(writers.submit(self._publish, day, *self._score(day)))
                while len(pending) > WRITERS or (pending and pending[0].done()):
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()

    def _score(self, day: np.datetime64) -> tuple[list[MomentScores], list[list[MomentScores]]]:
        """Score each datetime of a day for which every run has windows; the combination, and what each run said."""
        by_moment: dict[np.datetime64, list[MomentScores]] = {}
        for predictor in self._predictors:
            for scores in predictor.score_between(day, day + 1):
                by_moment.setdefault(scores.moment, []).append(scores)
        whole = [by_moment[moment] for moment in sorted(by_moment) if len(by_moment[moment]) == len(self._predictors)]
        pairs = [(combine(scores, self._target.combine), scores) for scores in whole]
        pairs = [(combined, scores) for combined, scores in pairs if len(combined.score_N)]
        return [combined for combined, _ in pairs], [scores for _, scores in pairs]

    def _publish(
        self, day: np.datetime64, moments: Sequence[MomentScores], said: Sequence[Sequence[MomentScores]]
    ) -> DayResult:
        rows = sum(len(scores.score_N) for scores in moments)
        members = self._target.members.get(str(day))
        coverage = rows / (members * max(len(moments), 1)) if members else None
        usual = self._target.usual.get(str(day), members or 0)
        few = rows < self._target.min_coverage * usual * max(len(moments), 1)
        gap = self._target.gaps.get(str(day))
        low = few or (gap is not None and gap.share < self._target.min_coverage)
        why = f"{rows} of {numbered(usual, 'instrument|instruments')}" if few else "" if gap is None else gap.why
        result = DayResult(day=str(day), rows=rows, coverage=coverage, written=False, usual=usual, low=low, why=why)
        if not rows or low:
            return result
        columns = columns_of(moments)
        made = facts_of(self._target.hashes, day, np.unique(columns["instrument"]).tolist())
        if len(self._target.run_ids) > 1 and self._may_replace(day):
            self._keep(day, columns, moments, said)
        try:
            put = self._write(day, columns, {"coverage": coverage, "members": members, **made})
        except OtherVersionError:
            return replace(result, superseded=True)
        return replace(result, written=True, twin=put is False, equal=all(map(_all_equal, moments)))

    def _may_replace(self, day: np.datetime64) -> bool:
        over = self._target.over(day)
        return over is None or version(date_uri(self._target.to, day)) == over

    def _keep(
        self,
        day: np.datetime64,
        columns: dict[str, np.ndarray],
        moments: Sequence[MomentScores],
        said: Sequence[Sequence[MomentScores]],
    ) -> None:
        """Put what each run said beside the table, of the instruments that the combination has."""
        runs = {
            run_id: np.concatenate(
                [scores_for(combined.instrument_N, each[k]) for combined, each in zip(moments, said, strict=True)]
            )
            for k, run_id in enumerate(self._target.run_ids)
        }
        write_members(self._target.to, day, columns, runs, self._target.run_id)

    def _to_table(self, day: np.datetime64, columns: dict[str, np.ndarray], facts: Mapping[str, Any]) -> bool:
        return write_date(self._target.to, day, columns, self._target.run_id, facts, self._target.over(day))


def _all_equal(scores: MomentScores) -> bool:
    score_N = scores.score_N
    return len(score_N) > 1 and bool((score_N == score_N[0]).all())


def scores_for(instrument_N: np.ndarray, scores: MomentScores) -> np.ndarray:
    """The scores of one run for some instruments [N] that it has."""
    score_N: np.ndarray = scores.score_N[np.searchsorted(scores.instrument_N, instrument_N)]
    return score_N


def columns_of(moments: Sequence[MomentScores]) -> dict[str, np.ndarray]:
    """Lay the scores of several datetimes below each other: instrument, datetime, score."""
    return {
        "instrument": np.concatenate([scores.instrument_N for scores in moments]),
        "datetime": np.concatenate([np.repeat(scores.moment, len(scores.score_N)) for scores in moments]),
        "score": np.concatenate([scores.score_N for scores in moments]),
    }
