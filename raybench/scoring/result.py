"""What a scoring job did, and what it says of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from raybench.reports.cards import ResultCard
from raybench.reports.text import numbered
from raybench.scoring.coverage import told
from raybench.scoring.job import DayResult, Target
from raybench.scoring.planning import DatePlan
from raybench.storage.claims import SupersededError


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class ScoringResult(ResultCard):
    """What a scoring job did.

    written: days published now. present: days that were there and stay. empty: days on which nobody can be scored.
    low_coverage: days left out because too few of those who should be scored can be, now or by a job before, of which
    ``refused`` says more. newest_refused: whether the newest day that was asked for is among them. newest: the last
    date of the table and the run that scored it, where there was nothing to do. twins: those of the days written of
    which another process had published the very same by then. warnings: what was scored with less than there should
    be, and what was not, a line each.
    """

    written: tuple[str, ...]
    present: int
    rows: int
    empty: tuple[str, ...]
    low_coverage: tuple[str, ...]
    seconds: float
    run_id: str
    refused: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    newest_refused: bool = False
    newest: tuple[str, str] | None = None
    twins: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    def card(self) -> tuple[str, Mapping[str, Any]]:
        """What was done, for a prompt or a notebook."""
        first, last = (self.written[0], self.written[-1]) if self.written else (None, None)
        return numbered(len(self.written), "date|dates scored"), {
            "first": first,
            "last": last,
            "rows": self.rows,
            "there before": self.present or None,
            "refused": len(self.low_coverage) or None,
            "run_id": self.run_id,
        }


Refused = Mapping[str, Mapping[str, Any]]
"""What is known of each day that was refused."""


def refused_of(results: Iterable[DayResult], target: Target) -> Refused:
    """What is noted of the days that were refused now."""
    low = sorted((result for result in results if result.low), key=lambda result: result.day)
    return {
        r.day: {
            "scored": r.rows,
            "usual": r.usual,
            "why": r.why,
            "run_id": target.run_id,
            "min_coverage": target.min_coverage,
        }
        for r in low
    }


def result_of(
    plan: DatePlan,
    target: Target,
    results: Sequence[DayResult],
    before: Mapping[date, Mapping[str, Any]],
    warnings: Sequence[str],
    seconds: float,
) -> ScoringResult:
    """Say what was done; ``before``: days of the plan that were refused by jobs before, and still are."""
    now = refused_of(results, target)
    refused = dict(sorted(({str(day): facts for day, facts in before.items()} | dict(now)).items()))
    written = tuple(sorted(result.day for result in results if result.written))
    empty = tuple(sorted(result.day for result in results if not result.rows and not result.low))
    odd = [*_not_whole(results), *_equal(results)]
    nobody = [f"nobody can be scored on {told(empty)}"] if empty else []
    return ScoringResult(
        written=written,
        present=plan.present,
        rows=sum(result.rows for result in results if result.written),
        empty=empty,
        low_coverage=tuple(refused),
        seconds=seconds,
        run_id=target.run_id,
        refused=refused,
        newest_refused=str(plan.newest) in refused,
        twins=tuple(sorted(result.day for result in results if result.twin)),
        warnings=(*warnings, *odd, *nobody, *_refusal(refused, now, target.min_coverage)),
    )


def check_superseded(to: str, results: Iterable[DayResult]) -> None:
    """SupersededError that names the days which another job wrote otherwise while this one worked; they stay so."""
    days = sorted(result.day for result in results if result.superseded)
    if days:
        raise SupersededError(
            f"{to}: {told(days)}: written by another job since this one began, and left as that one wrote "
            f"{'it' if len(days) == 1 else 'them'}: this one is superseded; --overwrite scores again"
        )


def _not_whole(results: Iterable[DayResult]) -> Iterator[str]:
    """Name the days that were published although not all of their data is there."""
    written = sorted((result for result in results if result.written), key=lambda result: result.day)
    days = [f"{result.day} ({result.why})" for result in written if result.why]
    if days:
        yield f"{told(days)}: scored with less than usual; when the rest is there, --stale scores it again"


def _equal(results: Iterable[DayResult]) -> Iterator[str]:
    """Name the days on which nobody stands out, whose ranks are the order of the names."""
    days = sorted(result.day for result in results if result.equal)
    if days:
        yield f"{told(days)}: all instruments have the same score, so that the ranks follow their names alone"


def _refusal(refused: Refused, now: Refused, min_coverage: float) -> Iterator[str]:
    """Name the days that were left out, and what becomes of them."""
    days = [f"{day} ({refused[day]['why']})" for day in now]
    if days:
        yield (
            f"{told(days)}: coverage is below --min-coverage {min_coverage:g}, so nothing is published; the next run "
            "comes back to it when the rest is there (--min-coverage 0 publishes it as it is)"
        )
    again = [f"{day} ({refused[day].get('why', '')})" for day in refused if day not in now]
    if again:
        yield f"{told(again)}: refused before, and nothing has come since"
