"""Universes that are there, and spans that come: who is new, who left, whose span goes on.

From the first start that is given of an instrument its spans are those given; before it they are those that were there.
So the whole list may come, or just the lines that are new: who is not in it stays as it was.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from raybench.market.universe import Universe, make_universe

DAY_LONG = np.timedelta64(1, "D")


def merged_universes(there: Mapping[str, Universe], coming: Mapping[str, Universe]) -> dict[str, Universe]:
    """All universes by name, those that come laid over those that are there."""
    both = {name: merged(there[name], universe) for name, universe in coming.items() if name in there}
    return {**there, **coming, **both}


def merged(there: Universe, coming: Universe) -> Universe:
    """The spans of both."""
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
    starts, ends = (np.array([span[k] for span in spans], "datetime64[us]") for k in (1, 2))
    return make_universe(coming.name, [span[0] for span in spans], starts, ends, where=f"universe {coming.name}")
