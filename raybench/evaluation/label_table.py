"""What scores are compared with: labels of instruments on the datetimes of a calendar.

Shapes: L datetimes, N instruments, both sorted; R rows of a table. NaN: a label that is not known.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from raybench.columns import moments, numbers
from raybench.columns.frames import long_frame
from raybench.columns.types import Moments
from raybench.config.data.label import DEFAULT_LABEL, parse_label
from raybench.feature_sets import labels
from raybench.market.bars import BarBlock
from raybench.market.importing.frames import frame_bars
from raybench.market.sources.clocks import zone_clocks
from raybench.market.sources.row_dates import look_at_dates
from raybench.metrics.annual import Timing, periods_per_year


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelTable:
    """Raw labels of instruments on every datetime of a calendar.

    Attributes
    ----------
    dates_L, instruments, label_LN : the labels and their axes
    name : the expression, or what the labels are called
    timing : how often a year there are bars, and how many a label is held for
    listed : every instrument that has bars, whether its labels were read or not
    warnings : what is probably not meant about the bars of a frame
    """

    dates_L: Moments
    instruments: tuple[str, ...]
    label_LN: NDArray[np.float32]
    name: str
    timing: Timing
    listed: tuple[str, ...]
    warnings: tuple[str, ...] = ()

    @classmethod
    def of_bars(
        cls,
        block: BarBlock,
        label: str = DEFAULT_LABEL,
        *,
        calendar: Moments | None = None,
        listed: Sequence[str] | None = None,
    ) -> LabelTable:
        """Compute ``label`` on bars; ``calendar`` and ``listed`` are of all bars where these are some."""
        expression = parse_label(label)
        return cls.of_rows(
            np.repeat(np.asarray(block.instruments, dtype=object), np.diff(block.start_N1)),
            block.datetime_R,
            labels.compute(block, expression),
            label,
            holding=expression.holding,
            calendar=calendar,
            listed=listed,
        )

    @classmethod
    def of_frame(cls, frame: pd.DataFrame, label: str = DEFAULT_LABEL) -> LabelTable:
        """Take the column ``label`` of a frame, or compute the expression on its bars where it has none."""
        frame = long_frame(frame, what="bars", series="label")
        if "label" not in frame:
            block, told = frame_bars(frame)
            return replace(cls.of_bars(block, label), warnings=told)
        holding = parse_label(label).holding if "$" in label else 1
        when_R = moments.datetimes(frame["datetime"], where="labels")
        names = moments.names(frame["instrument"], where="labels")
        dates = look_at_dates(names, when_R, zone_clocks(frame["datetime"], when_R), "labels", leave_out=False)
        label_R = numbers.floats(frame["label"], "label", where="labels")
        name_R = names.to_numpy(zero_copy_only=False)
        made = cls.of_rows(name_R, dates.stamps(when_R), label_R, label, holding=holding)
        return replace(made, warnings=dates.told)

    @classmethod
    def of_rows(
        cls,
        instrument_R: NDArray[Any],
        when_R: Moments,
        label_R: NDArray[np.float32],
        name: str,
        *,
        holding: int,
        calendar: Moments | None = None,
        listed: Sequence[str] | None = None,
    ) -> LabelTable:
        """From one row for each instrument and datetime, in any order."""
        column_R, instruments = pd.factorize(instrument_R, sort=True)
        found_L, row_R = np.unique(when_R, return_inverse=True)
        dates_L = found_L if calendar is None else np.union1d(calendar, found_L)
        label_LN = np.full((len(dates_L), len(instruments)), np.nan, dtype=np.float32)
        label_LN[np.searchsorted(dates_L, found_L)[row_R], column_R] = label_R
        names = tuple(str(each) for each in instruments)
        return cls(
            dates_L=dates_L,
            instruments=names,
            label_LN=label_LN,
            name=name,
            timing=Timing(periods_per_year=periods_per_year(dates_L), holding=holding),
            listed=names if listed is None else tuple(listed),
        )
