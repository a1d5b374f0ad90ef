"""Universes that are there, and spans that come: who is new, who left, whose span goes on.

From the first start that is given of an instrument its spans are those given; before it they are those that were there.
So the whole list may come, or just the lines that are new: who is not in it stays as it was.

A list without dates is a whole list, of today: it says who is a member from the first date on that may be new. Before
it the spans are as they were, so that dates that have been scored keep their members; a full import of both, which
knows the last list alone, has these names over the whole history instead.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from raybench.market.quality import EXAMPLES
from raybench.market.universe import FOREVER, Universe, make_universe

DAY_LONG = np.timedelta64(1, "D")


def merged_universes(
    there: Mapping[str, Universe], coming: Mapping[str, Universe], since: np.datetime64
) -> dict[str, Universe]:
    """All universes by name, those that come laid over those that are there; ``since``: the day after the last date."""
    both = {name: merged(there[name], universe, since) for name, universe in coming.items() if name in there}
    return {**there, **coming, **both}


def merged(there: Universe, coming: Universe, since: np.datetime64) -> Universe:
    """The spans of both."""
    if not coming.dated:
        return _listed_from(there, coming, since)
    begins: dict[str, np.datetime64] = {}
    for name, start in zip(coming.instrument_K, coming.start_K, strict=True):
        begins.setdefault(name, start)  # spans are sorted
    spans = [*zip(coming.instrument_K, coming.start_K, coming.end_K, strict=True)]
    for name, start, end in zip(there.instrument_K, there.start_K, there.end_K, strict=True):
        before = begins.get(name)
        if before is None:
            spans.append((name, start, end))
        elif start < before:
            day = before.astype("datetime64[D]").astype("datetime64[us]")
            spans.append((name, start, min(end, max(day - DAY_LONG, start))))
    return _universe(coming.name, spans)


def joined_and_left(there: Universe, coming: Universe, since: np.datetime64) -> tuple[str, ...]:
    """A line on who joined and who left by a list without dates; none if nobody did."""
    before, now = _open(there, since), set(coming.instrument_K)
    moves = [("joined", sorted(now - before)), ("left", sorted(before - now))]
    said = [f"{len(names)} {verb} ({_some(names)})" for verb, names in moves if names]
    if coming.dated or not said:
        return ()
    return (
        f"universe {coming.name}: a list without dates says who is a member from {since} on: {', '.join(said)}; "
        "before that its members are as they were (a list with start and end says when)",
    )


def _listed_from(there: Universe, coming: Universe, since: np.datetime64) -> Universe:
    """The members that are listed from a day on, those that there were before it."""
    now, before = set(coming.instrument_K), _open(there, since)
    first = since.astype("datetime64[us]")
    spans = []
    for name, start, end in zip(there.instrument_K, there.start_K, there.end_K, strict=True):
        if name in now and end >= first:
            spans.append((name, min(start, first), FOREVER))
        elif start < first:
            spans.append((name, start, min(end, first - DAY_LONG)))
    spans += [(name, first, FOREVER) for name in sorted(now - before)]
    return _universe(coming.name, spans)


def _open(universe: Universe, since: np.datetime64) -> set[str]:
    """Who is a member on a day or later."""
    return {name for name, end in zip(universe.instrument_K, universe.last_K, strict=True) if end >= since}


def _universe(name: str, spans: Sequence[tuple[str, np.datetime64, np.datetime64]]) -> Universe:
    starts, ends = (np.array([span[k] for span in spans], "datetime64[us]") for k in (1, 2))
    return make_universe(name, [span[0] for span in spans], starts, ends, where=f"universe {name}")


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:EXAMPLES]) + (", ..." if len(names) > EXAMPLES else "")
