"""The dates that were not published because too few instruments could be scored, so that a later run does them.

    SCORES.refused.json    {"2020-08-26": {"scored": 1, "usual": 6, "run_id": ...}, ...}

It lies beside the table, which holds nothing but scores, and goes when no date is left in it. ``seen`` says what there
was to score the date from: as long as that is all there is, no run comes back to it.

A job that writes several dates at a time notes them here too, until it has come to its end: one that is killed may
have written a date and not the one before, behind which who goes on would not look. A job that writes one after the
other leaves no such hole until it refuses one, and notes nothing before.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import date
from typing import Any

from raybench.errors import DataError
from raybench.storage import files

BEGUN = "begun"
"""The fact by which a date is known that a job began and did not come to."""


def refused_uri(scores_uri: str) -> str:
    """Where the dates that a table lacks for their coverage are noted."""
    return files.sibling(scores_uri, ".refused.json")


def read_refused(scores_uri: str) -> dict[date, dict[str, Any]]:
    """The dates that were refused, or begun, and are not there as far as is known; with what is known of each."""
    file = refused_uri(scores_uri)
    data = files.read_if_there(file)
    if data is None:
        return {}
    try:
        return {date.fromisoformat(day): dict(facts) for day, facts in json.loads(data).items()}
    except (ValueError, TypeError, AttributeError) as error:
        raise DataError(f"{file}: cannot be read ({error}); remove it, and score its dates with --start") from None


def worth_another_try(facts: Mapping[str, Any], *, run_id: str, min_coverage: float, seen: str) -> bool:
    """Whether a date that was refused may come to scores now: something came, or something else is asked for."""
    if facts.get("run_id") != run_id or facts.get("seen") != seen:
        return True
    return min_coverage < float(facts.get("min_coverage", 1.0))


def is_begun(facts: Mapping[str, Any]) -> bool:
    """Whether a noted date was begun, and nobody refused it."""
    return BEGUN in facts


def note_refused(
    scores_uri: str,
    refused: Mapping[str, Mapping[str, Any]],
    done: Collection[str],
    known: Mapping[date, Mapping[str, Any]] | None = None,
) -> bool:
    """Note what was ``refused`` now and forget what is ``done``; whether anything changed, else nothing is written.

    ``known``: what was noted before, where that was read.
    """
    if not refused and known is not None and not {str(day) for day in known} & set(done):
        return False
    before = {str(day): facts for day, facts in read_refused(scores_uri).items()}
    after = {day: facts for day, facts in before.items() if day not in set(done)} | {
        d: dict(refused[d]) for d in refused
    }
    if after == before:
        return False
    if not after:
        files.remove(refused_uri(scores_uri))
        return True
    _write(scores_uri, after)
    return True


class Begun:
    """The dates that a job came for, so that a later one comes back to them should this one be killed.

    ``known``: what was noted before, where that was read and has not changed since.
    """

    def __init__(self, scores_uri: str, days: Sequence[str], known: Mapping[date, Mapping[str, Any]] | None) -> None:
        self.known = known
        self._to, self._days, self._noted = scores_uri, days, False

    def note(self) -> None:
        """Note them, once; with one date there is nothing that a later job could pass by."""
        if self._noted or len(self._days) < 2:
            return
        before = read_refused(self._to) if self.known is None else self.known
        begun = {day: {BEGUN: True, "why": "begun, and not come to its end"} for day in self._days}
        _write(self._to, {str(day): facts for day, facts in before.items()} | begun)
        self.known, self._noted = None, True

    def forget(self, there: Callable[[], Collection[str]]) -> None:
        """After a job that did not come to its end, keep those that who goes on behind the last date would pass by."""
        if self._noted:
            done = set(there()).intersection(self._days)
            note_refused(self._to, {}, [day for day in self._days if day in done or not done or day > max(done)])


def _write(scores_uri: str, noted: Mapping[str, Mapping[str, Any]]) -> None:
    text = json.dumps(dict(sorted(noted.items())), indent=1) + "\n"
    files.publish_bytes(refused_uri(scores_uri), text.encode(), staging=files.sibling(scores_uri, ".staging"))
