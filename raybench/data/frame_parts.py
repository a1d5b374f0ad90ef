"""Reading the rows of some whole instruments, from bars or from a feature table: one task each.

Features and labels are computed on an instrument's whole history first; then the rows outside the
universe and outside the range of dates go. NaN: a suspended day is a row of NaN features.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from raybench.config.alpha_reach import rows_of
from raybench.config.data import FeatureSet
from raybench.config.label import LabelExpression
from raybench.data import alpha158, alpha360, labels
from raybench.data.bars import BarBlock, Bars
from raybench.data.feature_table import FeatureTable
from raybench.data.frame import FramePart, Moments
from raybench.data.processors.by_date import Float32
from raybench.data.processors.column import in_range
from raybench.data.universe import Universe

Day = np.datetime64


@dataclass(frozen=True, slots=True, kw_only=True)
class BarRows:
    """Rows computed from bars: Alpha158 ``columns``, or the raw fields of Alpha360 where that is None.

    weight: a field of the bars to weigh samples by. since: from where on bars are looked at, which is as far before
    ``start`` as features and label reach (``reach``); None: from the first.
    """

    bars: Bars
    universe: Universe
    label: LabelExpression
    start: Day
    end: Day
    columns: tuple[str, ...] | None
    step_len: int
    weight: str | None = None
    since: np.datetime64 | None = None

    @property
    def reach(self) -> int:
        """Rows before its own that a row's features and label read."""
        rows = self.step_len if self.columns is None else rows_of(FeatureSet(type="alpha158"), self.columns)
        return max(rows - 1, self.label.reach)

    def groups(self, max_rows: int = 200_000) -> list[tuple[str, ...]]:
        """Groups of the instruments that are members within the range."""
        return self.bars.groups(members(self.universe, self.start, self.end), max_rows)

    def part(self, instruments: Sequence[str]) -> FramePart:
        """The rows of a group."""
        block = self.bars.block(instruments, self._fields())
        return self.part_of(block if self.since is None else block.since(self.since))

    def part_of(self, block: BarBlock) -> FramePart:
        """The rows of a block of bars."""
        keep_R = self.universe.mask(block.instruments, block.code_R, block.datetime_R)
        keep_R &= in_range(block.datetime_R, (self.start, self.end))
        label_R = labels.compute(block, self.label)[keep_R]
        weight_R = None if self.weight is None else block.fields[self.weight][keep_R]
        values, row_R = self._values(block, keep_R)
        return FramePart(
            instruments=block.instruments,
            code_R=block.code_R[keep_R],
            datetime_R=block.datetime_R[keep_R],
            label_R=label_R,
            weight_R=weight_R,
            values=values,
            row_R=row_R,
        )

    def keys(self, instruments: Sequence[str]) -> FramePart:
        """The rows of a group without features."""
        return replace(self, columns=()).part(instruments)

    def _values(self, block: BarBlock, keep_R: npt.NDArray[np.bool_]) -> tuple[Float32, npt.NDArray[np.int64] | None]:
        if self.columns is None:
            return self._lags(block, keep_R)
        if not self.columns:
            return np.empty((int(keep_R.sum()), 0), np.float32), None
        return alpha158.compute(block, self.columns)[keep_R], None

    def _fields(self) -> tuple[str, ...]:
        needed = alpha360.FIELDS if self.columns is None else (*alpha158.FIELDS, "vwap") if self.columns else ()
        weight = () if self.weight is None else (self.weight,)
        return tuple(dict.fromkeys(f for f in (*needed, *self.label.fields, *weight) if f in self.bars.fields))

    def _lags(self, block: BarBlock, keep_R: npt.NDArray[np.bool_]) -> tuple[Float32, npt.NDArray[np.int64]]:
        """Raw fields [P, 6] with ``step_len - 1`` rows of NaN before each instrument; places of kept rows.

        So the W rows up to any row are its window, and a lag before the first bar is NaN. Rows that no
        window of a kept row reaches are left out.
        """
        raw_R6 = alpha360.raw(block)
        lead = self.step_len - 1
        parts: list[Float32] = []
        places: list[npt.NDArray[np.int64]] = []
        offset = 0
        for first, stop in zip(block.start_N1[:-1], block.start_N1[1:], strict=True):
            kept = np.flatnonzero(keep_R[first:stop])
            if not len(kept):
                continue
            begin, end = max(0, int(kept[0]) - lead), int(kept[-1]) + 1
            padding = np.full((lead, raw_R6.shape[1]), np.nan, np.float32)
            parts += [padding, raw_R6[first + begin : first + end]]
            places.append(offset + lead + kept - begin)
            offset += lead + end - begin
        empty = np.empty((0, raw_R6.shape[1]), np.float32)
        return np.concatenate([empty, *parts]), np.concatenate([np.empty(0, np.int64), *places])


@dataclass(frozen=True, slots=True, kw_only=True)
class TableRows:
    """Rows of a feature table, restricted to the universe where there is one."""

    table: FeatureTable
    universe: Universe | None
    label: str | None
    start: Day
    end: Day
    columns: tuple[str, ...]
    weight: str | None = None

    def groups(self, max_rows: int = 200_000) -> list[tuple[str, ...]]:
        """Groups of the instruments that are members within the range."""
        groups = self.table.groups(max_rows)
        if self.universe is None:
            return groups
        wanted = set(members(self.universe, self.start, self.end))
        kept = (tuple(name for name in group if name in wanted) for group in groups)
        return [group for group in kept if group]

    def keys(self, instruments: Sequence[str]) -> FramePart:
        """The rows of a group without features."""
        return replace(self, columns=()).part(instruments)

    def part(self, instruments: Sequence[str]) -> FramePart:
        """The rows of a group."""
        extra = [name for name in (self.label, self.weight) if name is not None]
        names = list(dict.fromkeys([*self.columns, *extra]))
        end = self.end.astype("datetime64[D]") + np.timedelta64(1, "D") - np.timedelta64(1, "us")
        table = self.table.read(names, instruments, self.start.astype("datetime64[us]"), end)
        found, code_R = np.unique(table["instrument"].to_numpy(zero_copy_only=False).astype(str), return_inverse=True)
        datetime_R: Moments = table["datetime"].to_numpy().astype("datetime64[us]")
        codes: npt.NDArray[np.int32] = code_R.astype(np.int32)
        if self.universe is None:
            keep_R = np.ones(len(codes), np.bool_)
        else:
            keep_R = self.universe.mask(tuple(found), codes, datetime_R)
        values = np.empty((int(keep_R.sum()), len(self.columns)), np.float32)
        for i, name in enumerate(self.columns):
            values[:, i] = table[name].to_numpy()[keep_R]
        missing_R = np.full(len(values), np.nan, np.float32)
        return FramePart(
            instruments=tuple(map(str, found)),
            code_R=codes[keep_R],
            datetime_R=datetime_R[keep_R],
            label_R=missing_R if self.label is None else _float32(table[self.label].to_numpy()[keep_R]),
            weight_R=None if self.weight is None else _float32(table[self.weight].to_numpy()[keep_R]),
            values=values,
        )


def members(universe: Universe, start: Day, end: Day) -> list[str]:
    """Instruments with a span that reaches into the range, sorted."""
    begins = universe.start_K.astype("datetime64[D]") <= end.astype("datetime64[D]")
    reaches = begins & (universe.last_K.astype("datetime64[D]") >= start.astype("datetime64[D]"))
    return sorted({name for name, here in zip(universe.instrument_K, reaches, strict=True) if here})


def _float32(values: npt.NDArray[np.floating]) -> Float32:
    return values.astype(np.float32, copy=False)
