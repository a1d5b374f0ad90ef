"""Whether scores and what they are compared with belong together: names, dates, and how many have a label.

A figure over a tenth of the scores looks like one over all of them, so what could not be compared is counted
here and named, and where it is the larger part there is no figure at all.

Shapes: T datetimes and N instruments of the scores. NaN rule: a score that is NaN is none.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from raybench.columns.spelling import twins
from raybench.columns.types import Moments
from raybench.errors import DataError
from raybench.evaluation.label_table import LabelTable
from raybench.metrics.signal import LONG_SHORT_SHARE, Array
from raybench.reports.text import numbered
from raybench.scoring.foreign import RUN_ID

MOST_MISSING = 0.5  # of the scores, or of the instruments; from here on nothing is evaluated
WORTH_SAYING = 0.1  # of the scores without a label: some instruments are always suspended
EXAMPLES = 3
FEWEST = round(1 / LONG_SHORT_SHARE)  # scores a date for a long-short return


def check_matching(
    table: LabelTable, dates_T: Moments, instruments: Sequence[str], score_TN: Array, label_TN: Array
) -> tuple[str, ...]:
    """Say what could not be compared, a line for each reason; DataError where that is most of the scores.

    The last dates, whose labels nobody can know yet, are held against no one.
    """
    scored_TN = np.isfinite(score_TN)
    strange_N = ~np.isin(np.asarray(instruments, dtype=object), np.asarray(table.listed, dtype=object))
    absent_T = ~np.isin(dates_T, table.dates_L)
    known_L = np.isfinite(table.label_LN).any(axis=1)
    last = table.dates_L[known_L][-1] if known_L.any() else table.dates_L[-1]
    waiting_T = ~absent_T & (dates_T > last)
    barless_TN = scored_TN & (strange_N | absent_T[:, None])
    blank_TN = scored_TN & ~barless_TN & ~np.isfinite(label_TN) & ~waiting_T[:, None]
    total = int(scored_TN.sum())
    due = total - int((scored_TN & ~barless_TN & waiting_T[:, None]).sum())
    found = [
        *_strangers(table, instruments, strange_N & scored_TN.any(axis=0)),
        *_strange_dates(table, dates_T[absent_T & scored_TN.any(axis=1)]),
    ]
    barless, blank = int(barless_TN.sum()), int(blank_TN.sum())
    strangers = int((strange_N & scored_TN.any(axis=0)).sum())
    if barless >= MOST_MISSING * total > 0 or strangers >= MOST_MISSING * int(scored_TN.any(axis=0).sum()) > 0:
        raise DataError(
            f"{barless:,} of {total:,} scores ({barless / total:.0%}) have no bars: {'; '.join(found)}; want the bars "
            "that these scores were made from (--bars), spelt and dated alike"
        )
    if barless + blank > MOST_MISSING * due > 0:
        raise DataError(
            f"{barless + blank:,} of {due:,} scores ({(barless + blank) / due:.0%}) have no label "
            f"{table.name!r}{': ' if found else ''}{'; '.join(found)}; want bars with prices on the dates after the "
            "scores (--bars), or another label (--config)"
        )
    if found:
        found = [f"{barless:,} of {total:,} scores ({barless / total:.1%}) are left out: {'; '.join(found)}"]
    if blank > WORTH_SAYING * due:
        found.append(f"{blank:,} of {due:,} scores ({blank / due:.0%}) have bars but no label, and are left out")
    return tuple(found)


def several_runs(scores: pd.DataFrame) -> tuple[str, ...]:
    """Say that rows come from more than one run, by their ``run_id``: the figures are then those of a mixture."""
    if RUN_ID not in scores or scores[RUN_ID].nunique(dropna=False) < 2:
        return ()
    grouped = scores.groupby(RUN_ID, dropna=False)["datetime"]
    each = [
        f"{run} ({numbered(dates.nunique(), 'date|dates')}, {dates.min():%Y-%m-%d} to {dates.max():%Y-%m-%d})"
        for run, dates in grouped
    ]
    more = f" and {len(each) - EXAMPLES} more" if len(each) > EXAMPLES else ""
    return (
        f"the scores are those of {len(each)} runs, evaluated as one: {', '.join(each[:EXAMPLES])}{more}; to judge one "
        "by itself keep its dates (--start, --end) or its rows, and name it with --model",
    )


def degenerate(score_TN: Array, label_TN: Array) -> tuple[str, ...]:
    """Say of how many dates scores or labels allow no figure at all: too few instruments, or all the same."""
    known_TN = np.isfinite(score_TN) & np.isfinite(label_TN)
    count_T = known_TN.sum(axis=1)
    dates = int((count_T > 0).sum())
    found = []
    lonely = int((count_T == 1).sum())
    if lonely:
        found.append(
            f"{lonely:,} of {numbered(dates, 'date|dates has|have')} one instrument only: there is no "
            "correlation between instruments"
        )
    for value_TN, what in ((score_TN, "score"), (label_TN, "label")):
        low_T = np.where(known_TN, value_TN, np.inf).min(axis=1)
        high_T = np.where(known_TN, value_TN, -np.inf).max(axis=1)
        equal = int(((count_T > 1) & (low_T == high_T)).sum())
        if equal:
            found.append(
                f"every instrument has the same {what} on {equal:,} of {numbered(dates, 'date|dates')}: no IC there"
            )
    scored_T = np.isfinite(score_TN).sum(axis=1)
    few = int(((scored_T > 0) & (scored_T < FEWEST)).sum())
    if few:
        found.append(
            f"{few:,} of {numbered(len(scored_T), 'date|dates has|have')} fewer than {FEWEST} scores: a "
            "fifth of them is nobody, "
            "so there is no long-short return"
        )
    return tuple(found)


def _strangers(table: LabelTable, instruments: Sequence[str], strange_N: NDArray[np.bool_]) -> list[str]:
    names = [name for name, strange in zip(instruments, strange_N, strict=True) if strange]
    if not names:
        return []
    spelt = next(iter(twins(names, table.listed).items()), None)
    hint = f" ({spelt[0]} is {spelt[1]} there)" if spelt else ""
    some = _some(names)
    return [f"{len(names):,} of {numbered(len(instruments), 'instrument|instruments has|have')} no bars ({some}){hint}"]


def _strange_dates(table: LabelTable, absent: Moments) -> list[str]:
    if not len(absent):
        return []
    days = absent.astype("datetime64[D]")
    midnight = bool((absent == days).all())
    some = _some([str(when.astype("datetime64[D]" if midnight else "datetime64[s]")) for when in absent])
    same_day = table.dates_L[np.isin(table.dates_L.astype("datetime64[D]"), days)]
    hint = f" (the bars of that day are stamped {same_day[0].astype('datetime64[s]')})" if len(same_day) else ""
    first, last = (table.dates_L[at].astype("datetime64[D]") for at in (0, -1))
    return [f"{numbered(len(absent), 'date|dates is|are')} not in the calendar of {first} to {last} ({some}){hint}"]


def _some(names: Iterable[str]) -> str:
    shown = list(names)
    return ", ".join(shown[:EXAMPLES]) + (", ..." if len(shown) > EXAMPLES else "")
