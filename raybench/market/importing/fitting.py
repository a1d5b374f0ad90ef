"""Whether a source fits the bars that it is added to: frequency, fields, clock, and how prices were adjusted."""

from __future__ import annotations

import numpy as np

from raybench.columns.spelling import twins
from raybench.errors import DataError
from raybench.market.bars import Bars
from raybench.market.calendar import DAY
from raybench.market.quality import EXAMPLES
from raybench.market.sources.source import Source
from raybench.reports.text import numbered


def adjusted_as_before(bars: Bars, adjust: str | None) -> str | None:
    """The field that prices are adjusted by: that of the bars that are there."""
    before = bars.metadata.source.get("adjusted_by")
    if adjust is not None and adjust != before:
        was = f"adjusted by {before}" if before else "not adjusted by a field"
        raise DataError(f"--adjust {adjust}: the bars at {bars.uri} were {was}; leave --adjust out, or import again")
    return before


def check_clock(source: Source, bars: Bars) -> None:
    """Daily bars of one date have one stamp: another clock would put them beside those that are there."""
    if bars.frequency != DAY:
        return
    clocks = [np.unique(each - each.astype("datetime64[D]")) for each in (source.calendar, bars.calendar)]
    new, old = (np.datetime64("2000-01-01", "us") + each[:1] for each in clocks)
    if len(clocks[0]) == len(clocks[1]) == 1 and new != old:
        times = [str(each[0].astype("datetime64[s]"))[11:] for each in (new, old)]
        raise DataError(
            f"{source.uri}: has daily bars at {times[0]}, and those at {bars.uri} are at {times[1]}; bring datetimes "
            "to that clock, or to dates without one"
        )


def check_fits(source: Source, bars: Bars) -> None:
    """DataError if the frequency is another, or a field of the bars is not in the source."""
    if source.frequency != bars.frequency:
        raise DataError(
            f"{source.uri}: has the frequency {source.frequency}, and the bars at {bars.uri} have {bars.frequency}; "
            "want the same (--frequency)"
        )
    missing = [name for name in bars.fields if name not in source.fields]
    if missing:
        raise DataError(
            f"{source.uri}: has no field {', '.join(missing)}, which the bars at {bars.uri} have; bring it "
            "(--columns THEIRS=OURS), or import again without it"
        )


def check_names(source: Source, bars: Bars) -> None:
    """DataError if the source has instruments of the bars under other spellings alone, such as 1 for 000001."""
    spelt = {name: other for name, other in twins(source.spans, bars.instruments).items() if other not in source.spans}
    if spelt:
        some = ", ".join(f"{name} for {other}" for name, other in list(spelt.items())[:EXAMPLES])
        raise DataError(
            f"{source.uri}: spells {numbered(len(spelt), 'instrument|instruments')} of the bars at {bars.uri} "
            f"otherwise ({some}{', ...' if len(spelt) > EXAMPLES else ''}); write names as they are there; in pandas, "
            "column.astype(str).str.zfill(6) puts lost zeros back"
        )


def left_out_fields(source: Source, bars: Bars) -> tuple[str, ...]:
    """A line on the fields that only the source has: the bars go on with theirs."""
    more = [name for name in source.fields if name not in bars.fields]
    if not more:
        return ()
    them = "it" if len(more) == 1 else "them"
    return (
        f"{numbered(len(more), 'field|fields')} left out, for the bars have no {', '.join(more)}: import the whole "
        f"history again to have {them}, or leave {them} out with --columns {'=,'.join(more)}=",
    )
