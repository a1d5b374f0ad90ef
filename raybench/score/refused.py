"""The dates that were not published because too few instruments could be scored, so that a later run does them.

    SCORES.refused.json    {"2020-08-26": {"scored": 1, "usual": 6, "run_id": ...}, ...}

It lies beside the table, which holds nothing but scores, and goes when no date is left in it.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from datetime import date
from typing import Any

from raybench.data import storage
from raybench.errors import DataError


def refused_uri(scores_uri: str) -> str:
    """Where the dates that a table lacks for their coverage are noted."""
    return storage.sibling(scores_uri, ".refused.json")


def read_refused(scores_uri: str) -> dict[date, dict[str, Any]]:
    """The dates that were refused and are not there yet, with what is known of each."""
    file = refused_uri(scores_uri)
    if not storage.exists(file):
        return {}
    try:
        return {date.fromisoformat(day): dict(facts) for day, facts in json.loads(storage.read_bytes(file)).items()}
    except (ValueError, TypeError, AttributeError) as error:
        raise DataError(f"{file}: cannot be read ({error}); remove it, and score its dates with --start") from None


def note_refused(scores_uri: str, refused: Mapping[str, Mapping[str, Any]], done: Collection[str]) -> None:
    """Note what was ``refused`` now and forget what is ``done``; nothing is written where that changes nothing."""
    before = {str(day): facts for day, facts in read_refused(scores_uri).items()}
    after = {day: facts for day, facts in before.items() if day not in set(done)} | {
        d: dict(refused[d]) for d in refused
    }
    if after == before:
        return
    if not after:
        storage.remove(refused_uri(scores_uri))
        return
    text = json.dumps(dict(sorted(after.items())), indent=1) + "\n"
    storage.publish_bytes(refused_uri(scores_uri), text.encode(), staging=storage.sibling(scores_uri, ".staging"))
