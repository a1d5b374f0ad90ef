"""``raybench daily``: what the cron job runs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import typer

from raybench.cli.commands.score import REFUSED
from raybench.cli.commands.status import NOT_UP_TO_DATE
from raybench.cli.config_argument import ConfigArgument, OverridesArgument, config_text
from raybench.cli.output import Output, command
from raybench.cli.progress_bars import duration
from raybench.cli.startup import loading
from raybench.cluster.address import check_named
from raybench.reports.text import numbered

if TYPE_CHECKING:
    from raybench.cluster.jobs.daily import DailyResult

NAMED = 5


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("daily")(command(daily))


def daily(out: Output, config: ConfigArgument, overrides: OverridesArgument = None) -> None:
    """Append the bars that have come, score the new dates, look at the table: safe to run again, and twice at once.

    Exit code 1: the newest date of the bars has no scores, or another process is at work still after four minutes of
    waiting for it; 3: it was refused for its coverage.
    """
    from raybench.config.daily import parse_daily

    asked = parse_daily(config_text(config), name=config, overrides=overrides or ())
    if asked.score.local is not True:
        check_named()
    with loading():
        from raybench.cluster.jobs.daily import daily as work
    out.about(run=", ".join(asked.score.model))
    out.keeps("bars and dates that were written are whole; the same command does the rest")
    done = work(asked, progress=out.progress)
    out.about(date=done.expected)
    for line in done.warnings:
        out.warn(line)
    for note in done.notes:
        out.progress.note(note)
    if done.stale:
        out.warn(_stale(done))
    to = asked.score.to
    out.summary(_said(done, to), title=f"{to}: {_title(done)}", told=list(_told(done)))
    if done.newest_refused:
        raise typer.Exit(REFUSED)
    if not done.up_to_date:
        raise typer.Exit(NOT_UP_TO_DATE)


def _title(done: DailyResult) -> str:
    if done.busy:
        return "another process is still at work on it, nothing was done"
    if done.up_to_date:
        return "up to date"
    return f"not up to date, {done.expected} {'was refused' if done.newest_refused else 'is missing'}"


def _told(done: DailyResult) -> Iterator[str]:
    if done.busy:
        yield done.busy
        return
    added = done.imported
    if added is not None and (added.rows or added.changed):
        yield f"imported {numbered(added.rows, 'row|rows')}, {numbered(added.dates, 'new date|dates')}"
    if added is not None and added.changed:
        since = [f"{name} from {when}" for name, when in added.changed.items()]
        yield f"restated: {', '.join(since[:NAMED])}{', ...' if len(since) > NAMED else ''}"
    written = () if done.scored is None else done.scored.written
    if written:
        yield f"scored {numbered(len(written), 'date|dates')}, {_span(written)}"
    if done.redone:
        again = f"{_span(done.redone)}{_whose(done.changed)}"
        yield f"scored {numbered(len(done.redone), 'stale date|dates')} again, {again}"
    if not written and not done.redone:
        yield "nothing new to score"
    yield f"newest date {done.newest}, in {duration(done.seconds)}"


def _stale(done: DailyResult) -> str:
    return (
        f"{numbered(len(done.stale), 'date|dates')}, {_span(done.stale)}, "
        f"{'was' if len(done.stale) == 1 else 'were'} made from bars that are others now{_whose(done.changed)}; "
        "score.redo_stale=true, or `raybench score --stale`, scores them again"
    )


def _span(days: Sequence[str]) -> str:
    return days[0] if len(days) == 1 else f"{days[0]} to {days[-1]}"


def _whose(changed: Mapping[str, str]) -> str:
    """Name those whose rows are others, each with the first date that was made from them."""
    since = [f"{name} since {day}" for name, day in changed.items()]
    return f" ({', '.join(since[:NAMED])}{', ...' if len(since) > NAMED else ''})" if since else ""


def _said(done: DailyResult, to: str) -> dict[str, Any]:
    scored, added = done.scored, done.imported
    return {
        "scores": to,
        "busy": done.busy,
        "up_to_date": done.up_to_date,
        "newest": done.newest,
        "expected": done.expected,
        "rows_imported": 0 if added is None else added.rows,
        "dates_imported": 0 if added is None else added.dates,
        "restated": {} if added is None else dict(added.changed),
        "dates_written": [] if scored is None else list(scored.written),
        "refused": [{"date": day, **facts} for day, facts in done.refused.items()],
        "stale": list(done.stale),
        "changed": dict(done.changed),
        "redone": list(done.redone),
        "seconds": round(done.seconds, 3),
    }
