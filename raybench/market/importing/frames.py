"""Frames of bars as people have them in Python, by the rules that hold for tables that are imported.

One door: which dates are dates, what clocks and zones say, two rows for one, and what is to be said about all of it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from raybench.columns import typed
from raybench.errors import DataError
from raybench.market.bars import FRAME, BarBlock, frame_columns
from raybench.market.importing.survey import Survey
from raybench.market.quality import loud, merge
from raybench.market.sources.clocks import zone_clocks
from raybench.market.sources.source import field_order
from raybench.market.sources.spool import Spool
from raybench.market.sources.tables import TableSource, spooled

if TYPE_CHECKING:
    import pandas as pd


def frame_source(bars: pd.DataFrame, fields: Sequence[str] | None = None) -> TableSource:
    """The rows of a frame as a source to import, not settled yet; ``fields``: only these, by default all numbers."""
    frame, values = frame_columns(bars, fields)
    if not len(frame):
        raise DataError(f"{FRAME} have no rows")
    datetime_R = typed.datetimes(frame["datetime"], where=FRAME, whole=False)
    zones = Counter(zone_clocks(frame["datetime"], datetime_R))
    names = field_order(values)
    spool = Spool(names)
    spool.append(typed.names(frame["instrument"], where=FRAME), datetime_R, values, FRAME)
    return spooled(spool, names, zones, format="memory", uri="bars")


def frame_bars(bars: pd.DataFrame, fields: Sequence[str] | None = None) -> tuple[BarBlock, tuple[str, ...]]:
    """The complete bars of a frame on its settled calendar, and a line for each thing that is probably not meant."""
    source = frame_source(bars, fields).settled({}, None)
    block = source.block(list(source.spans))
    survey = Survey(source, {})
    survey.add(block)
    findings = merge(source.findings, survey.findings())
    return block, loud({name: finding.to_json() for name, finding in findings.items()})
