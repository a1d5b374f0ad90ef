"""``raybench status``: whether a score table is up to date, and what is wrong with it where it is not."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from typing import TYPE_CHECKING, Annotated, Any

import typer

from raybench.cli.output import Output, command
from raybench.reports.text import numbered

if TYPE_CHECKING:
    from raybench.scoring.status import Status

NOT_UP_TO_DATE = 1  # exit code: the newest date that is expected is missing
NAMED = 5


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("status")(command(status))


def status(
    out: Output,
    scores: Annotated[str, typer.Argument(metavar="SCORES", help="Score table, local or s3://.")],
    bars: Annotated[
        str | None, typer.Option("--bars", metavar="BARS", help="Bars it was scored from: what is missing or stale.")
    ] = None,
    features: Annotated[
        str | None, typer.Option("--features", metavar="FEATURES", help="Feature table it was scored from.")
    ] = None,
    second: Annotated[
        str | None, typer.Option("--second", metavar="BARS", help="Bars of the second window, of a run that has one.")
    ] = None,
    concepts: Annotated[
        str | None, typer.Option("--concepts", metavar="FILE", help="Concept table, of a run that reads one.")
    ] = None,
    market: Annotated[
        str | None,
        typer.Option("--market", metavar="NAME", help="Exchange (XSHG, XNYS, ...) whose last session should be there."),
    ] = None,
    start: Annotated[str | None, typer.Option("--start", metavar="DATE", help="First date to look at.")] = None,
    end: Annotated[str | None, typer.Option("--end", metavar="DATE", help="Last date to look at.")] = None,
) -> None:
    """Say which dates are there, missing, refused, of other runs or stale (exit code 1: the newest is missing)."""
    from raybench.scoring.audit import last_job
    from raybench.scoring.planning import parse_day
    from raybench.scoring.status import status as look

    found = look(
        scores,
        bars=bars,
        features=features,
        second=second,
        concepts=concepts,
        market=market,
        start=parse_day("--start", start) if start else None,
        end=parse_day("--end", end) if end else None,
        progress=out.progress,
    )
    job = last_job(found.scores)
    title = f"{scores}: {_title(found)}"
    said = said_of(found) | {"last_job": job}
    then = () if bars or features else ("status", scores, "--bars", "BARS")
    out.summary(said if out.as_json or out.verbose else {}, title=title, told=[*told_of(found), *_job(job)], then=then)
    if not found.whole:
        raise typer.Exit(NOT_UP_TO_DATE)


def _title(found: Status) -> str:
    if found.expected is None:
        return "not compared with any data" if found.whole else "no date is there"
    return "up to date" if found.whole else f"not up to date, {found.expected} is missing"


def told_of(found: Status) -> Iterator[str]:
    """Say how it stands, in words."""
    if found.newest is None:
        yield "no date is there"
    else:
        looked_at = sorted(found.facts)
        span = f", {looked_at[0]} to {looked_at[-1]}" if looked_at else ""
        yield f"{numbered(len(looked_at), 'date|dates')}{span}"
        yield f"newest {found.newest}, {_age(found.age_days or 0)}, by the run {found.run_id}"
    if found.missing:
        yield f"missing: {_days(found.missing)}"
    if found.surplus:
        yield f"not in the data (any more): {_days(found.surplus)}; nothing scores them again, remove them"
    if found.refused:
        why = [f"{day} ({facts.get('why') or 'coverage'})" for day, facts in found.refused.items()]
        yield f"refused: {_few(why)}"
    if found.others:
        yield "by other runs: " + ", ".join(f"{numbered(n, 'date|dates')} by {run}" for run, n in found.others.items())
    yield from _stale(found)
    for day, rows in _rows(found):
        yield f"{day}: {rows}"


def _stale(found: Status) -> Iterator[str]:
    stale = found.stale
    if stale is None:
        return
    if stale.dates:
        yield f"stale: {_days(stale.dates)}; --stale of `raybench score` does just these again"
        since = [f"{name} (since {day})" for name, day in stale.changed.items()]
        if since:
            yield f"changed: {_few(since)}"
    elif len(stale.unknown) < len(found.facts):
        yield "none is stale"
    if stale.unknown:
        yield f"not known whether stale: {_days(stale.unknown)}"


def _rows(found: Status) -> Iterator[tuple[date, str]]:
    """The rows of the last dates against the universe's members."""
    for day in sorted(found.facts)[-NAMED:]:
        facts = found.facts[day]
        members = found.members.get(day)
        yield day, f"{facts.rows:,} of {members:,} members" if members else numbered(facts.rows, "row|rows")


def _job(job: dict[str, Any] | None) -> Iterator[str]:
    if job is not None:
        yield f"last changed by {job.get('who')} at {job.get('began')} (raybench {job.get('command')})"


def _age(days: int) -> str:
    return "of today" if days == 0 else f"{numbered(days, 'day|days')} old" if days > 0 else "in the future"


def _few(texts: list[str]) -> str:
    more = len(texts) - NAMED
    return ", ".join(texts[:NAMED]) + (f" and {more:,} more" if more > 0 else "")


def _days(days: tuple[date, ...]) -> str:
    if len(days) <= NAMED:
        return ", ".join(map(str, days))
    return f"{numbered(len(days), 'date|dates')} from {days[0]} to {days[-1]}"


def said_of(found: Status) -> dict[str, Any]:
    """Write it as JSON has it."""
    stale = found.stale
    return {
        "scores": found.scores,
        "up_to_date": found.whole,
        "dates": len(found.facts),
        "first": min(found.facts, default=None),
        "newest": found.newest,
        "age_days": found.age_days,
        "expected": found.expected,
        "run_id": found.run_id,
        "missing": list(found.missing),
        "surplus": list(found.surplus),
        "refused": [{"date": day, **facts} for day, facts in found.refused.items()],
        "other_runs": dict(found.others),
        "stale": None if stale is None else list(stale.dates),
        "changed": None if stale is None else {name: str(day) for name, day in stale.changed.items()},
        "stale_unknown": None if stale is None else list(stale.unknown),
        "by_date": [
            {
                "date": day,
                "rows": facts.rows,
                "members": found.members.get(day),
                "coverage": facts.coverage,
                "run_id": facts.run_id,
            }
            for day, facts in found.facts.items()
        ],
    }
