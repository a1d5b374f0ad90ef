"""What an import would take away from the dataset that is there: an import replaces all of it.

Fewer instruments, dates, rows, fields or universes, or another frequency: probably an update was meant, not the loss
of the history. What is lost is named; other values, and more of anything, are not a loss.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from raybench.data.bars import Bars
from raybench.data.calendar import Moments, no_moments
from raybench.data.quality import EXAMPLES, clock
from raybench.data.sources.source import Source
from raybench.data.universe import ALL, Universe
from raybench.errors import DataError


def refuse_loss(old: Bars, source: Source, universes: Mapping[str, Universe]) -> None:
    """DataError with the numbers if ``source`` holds less than the dataset ``old``."""
    lost = list(_lost(old, source, universes))
    if lost:
        metadata = old.metadata
        numbers = {
            "instruments": (len(old.instruments), len(source.spans)),
            "dates": (metadata.dates, len(source.calendar)),
            "rows": (metadata.rows, _rows(source)),
        }
        counts = ", ".join(f"{name} {was} -> {now}" for name, (was, now) in numbers.items())
        raise DataError(
            f"{old.uri}: an import replaces the whole dataset, and this one would leave less than is there: {counts} "
            f"({'; '.join(lost)}); import the whole history, or say --replace if that is meant"
        )


def shorter(old: Bars, source: Source) -> str | None:
    """A line on the instruments that have fewer rows than before, though the whole has not."""
    before = {name: count for file in old.files for name, count in zip(file.instruments, file.counts, strict=True)}
    fewer = [n for n, span in source.spans.items() if len(span) < before.get(n, 0)]
    if not fewer or len(source.left_out):
        return None
    some = _some([f"{name} {before[name]} -> {len(source.spans[name])}" for name in fewer])
    return f"{len(fewer)} instruments have fewer rows than in the dataset before: {some}"


def _lost(old: Bars, source: Source, universes: Mapping[str, Universe]) -> Iterator[str]:
    """What there was and will not be, each in a few words."""
    if source.frequency != old.frequency:
        yield f"the frequency was {old.frequency}, would be {source.frequency}"
    named = {
        "instruments": [name for name in old.instruments if name not in source.spans],
        "fields": [name for name in old.fields if name not in source.fields],
        "universes": [name for name in old.universes if name not in universes],
    }
    for what, names in named.items():
        if names:
            yield f"without {len(names)} {what} of it: {_some(names)}"
    calendar_T = _calendar(old)
    dates = np.setdiff1d(calendar_T, np.union1d(source.calendar, source.left_out))
    if len(dates):
        yield f"without {len(dates)} dates of it: {_some([clock(when) for when in dates[:EXAMPLES]], len(dates))}"
    # a date that is kept out of the calendar now is said elsewhere, and takes a row from each instrument
    out = len(np.intersect1d(calendar_T, source.left_out)) * len(old.instruments)
    if _rows(source) + out < old.metadata.rows:
        yield f"{old.metadata.rows - _rows(source)} rows fewer"
    for name in sorted(set(old.universes) & set(universes) - {ALL}):
        with contextlib.suppress(DataError):  # damaged, and to be replaced
            was, now = len(old.listed(name).instruments), len(universes[name].instruments)
            if now < was:
                yield f"universe {name} had {was} instruments, would have {now}"


def _calendar(old: Bars) -> Moments:
    try:
        return old.calendar
    except DataError:  # damaged, and to be replaced
        return no_moments()


def _rows(source: Source) -> int:
    return sum(map(len, source.spans.values()))


def _some(names: Sequence[str], count: int | None = None) -> str:
    return ", ".join(names[:EXAMPLES]) + (", ..." if (count or len(names)) > EXAMPLES else "")
