"""Reading the rows of some whole instruments, from bars or from a feature table: one task each.

Features and labels are computed on an instrument's whole history first; then the rows outside the
universe and outside the range of dates go. NaN: a suspended day is a row of NaN features.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from raybench.columns.moments import last_of_day
from raybench.config.data.alpha_reach import rows_of
from raybench.config.data.label import LabelExpression
from raybench.config.data.spec import FeatureSet
from raybench.feature_sets import alpha158, alpha360, labels
from raybench.feature_sets.table import FeatureTable
from raybench.market.bars import BarBlock, Bars
from raybench.market.quality import PRICES
from raybench.market.universe import Universe
from raybench.panel.filled import FRESH, Filled, count_filled
from raybench.panel.frame import FramePart, Moments
from raybench.panel.row_hashes import Hashing, RowHashes
from raybench.processors.by_date import Float32
from raybench.processors.column import in_range

Day = np.datetime64
LEAST_AT_ONCE, MOST_AT_ONCE = 60_000, 200_000
"""Rows of a group, if nobody says otherwise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BarRows:
    """Rows computed from bars: Alpha158 ``columns``, or the raw fields of Alpha360 where that is None.

    weight: a field of the bars to weigh samples by. since, until: which bars are read, as far before ``start`` as
    features and label look back (``reach``), and as far behind ``end`` as the label looks ahead; None: from the first,
    to the last. counted: fields whose numbers are counted.
    hashing: which rows to take a hash of, if any.
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
    until: np.datetime64 | None = None
    counted: tuple[str, ...] = ()
    hashing: Hashing | None = None

    @property
    def reach(self) -> int:
        """Rows before its own that a row's features and label read."""
        rows = self.step_len if self.columns is None else rows_of(FeatureSet(type="alpha158"), self.columns)
        return max(rows - 1, self.label.reach)

    def groups(self, max_rows: int | None = None) -> list[tuple[str, ...]]:
        """Groups of the instruments that are members within the range, by default a sixteenth of all at most."""
        if max_rows is None:  # one group is held beside the panel, and small ones take longer
            max_rows = _at_once(self.bars.metadata.rows)
        return self.bars.groups(members(self.universe, self.start, self.end), max_rows)

    def tasks(self) -> list[tuple[str, ...]]:
        """Groups of as many rows that are read, those of other dates left aside: of one date all may be one group."""
        calendar = self.bars.calendar
        first = 0 if self.since is None else int(np.searchsorted(calendar, self.since))
        stop = len(calendar) if self.until is None else int(np.searchsorted(calendar, self.until, side="right"))
        share = max(stop - first, 1) / max(len(calendar), 1)
        return self.groups(int(_at_once(self.bars.metadata.rows * share) / share))

    def part(self, instruments: Sequence[str]) -> FramePart:
        """The rows of a group, a member's without a bar on the newest dates among them."""
        fields = self._fields()
        return self.part_of(self.bars.block(instruments, fields, start=self.since, end=self.until, trailing=True))

    def part_of(self, block: BarBlock) -> FramePart:
        """The rows of a block of bars."""
        member_R = self.universe.mask(block.instruments, block.code_R, block.datetime_R)
        keep_R = member_R & in_range(block.datetime_R, (self.start, self.end))
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
            filled=self._filled(block, keep_R),
            hashes=None if self.hashing is None else self.hashing.block(block, member_R),
            traded=None if self.hashing is None else count_traded(block, member_R),
        )

    def keys(self, instruments: Sequence[str]) -> FramePart:
        """The rows of a group without features."""
        return replace(self, columns=()).part(instruments)

    def _filled(self, block: BarBlock, keep_R: npt.NDArray[np.bool_]) -> Filled | None:
        if not self.counted:
            return None
        values = {name: _numbers(name, block.fields[name][keep_R]) for name in self.counted}
        return count_filled(values, block.datetime_R[keep_R])

    def _values(self, block: BarBlock, keep_R: npt.NDArray[np.bool_]) -> tuple[Float32, npt.NDArray[np.int64] | None]:
        if self.columns is None:
            return self._lags(block, keep_R)
        if not self.columns:
            return np.empty((int(keep_R.sum()), 0), np.float32), None
        return alpha158.compute(block, self.columns)[keep_R], None

    def _fields(self) -> tuple[str, ...]:
        needed = alpha360.FIELDS if self.columns is None else (*alpha158.FIELDS, "vwap") if self.columns else ()
        weight = () if self.weight is None else (self.weight,)
        hashed = () if self.hashing is None else self.hashing.reads.fields
        named = (*needed, *self.counted, *self.label.fields, *weight, *hashed)
        return tuple(dict.fromkeys(f for f in named if f in self.bars.fields))

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
    hashing: Hashing | None = None

    def groups(self, max_rows: int = 200_000) -> list[tuple[str, ...]]:
        """Groups of the instruments that are members within the range."""
        groups = self.table.groups(max_rows)
        if self.universe is None:
            return groups
        wanted = set(members(self.universe, self.start, self.end))
        kept = (tuple(name for name in group if name in wanted) for group in groups)
        return [group for group in kept if group]

    def tasks(self) -> list[tuple[str, ...]]:
        """The same: of a table that is somebody's own nobody knows which rows are of which date."""
        return self.groups()

    def keys(self, instruments: Sequence[str]) -> FramePart:
        """The rows of a group without features."""
        return replace(self, columns=()).part(instruments)

    def part(self, instruments: Sequence[str]) -> FramePart:
        """The rows of a group."""
        extra = [name for name in (self.label, self.weight) if name is not None]
        names = list(dict.fromkeys([*self.columns, *extra]))
        start, end = self.start.astype("datetime64[us]"), last_of_day(self.end)
        table = self.table.read(names, instruments, start, end)
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
        label_R = missing_R if self.label is None else _float32(table[self.label].to_numpy()[keep_R])
        columns = dict(zip(self.columns, values.T, strict=True))
        codes, datetime_R = codes[keep_R], datetime_R[keep_R]
        return FramePart(
            instruments=tuple(map(str, found)),
            code_R=codes,
            datetime_R=datetime_R,
            label_R=label_R,
            weight_R=None if self.weight is None else _float32(table[self.weight].to_numpy()[keep_R]),
            values=values,
            filled=count_filled(columns, datetime_R) if columns else None,
            hashes=self._hashes(tuple(map(str, found)), codes, datetime_R, columns, label_R),
        )

    def _hashes(
        self,
        names: tuple[str, ...],
        code_R: npt.NDArray[np.int32],
        datetime_R: Moments,
        columns: dict[str, Float32],
        label_R: Float32,
    ) -> RowHashes | None:
        if self.hashing is None:
            return None
        fields = columns if self.label is None else {self.label: label_R, **columns}
        start_N1 = np.searchsorted(code_R, np.arange(len(names) + 1)).astype(np.int64)
        block = BarBlock(instruments=names, start_N1=start_N1, datetime_R=datetime_R, fields=fields)
        return self.hashing.block(block, np.ones(len(code_R), np.bool_))


def _at_once(rows: float) -> int:
    """Rows of one group, of so many in all."""
    return int(min(MOST_AT_ONCE, max(LEAST_AT_ONCE, rows // 16)))


def count_traded(block: BarBlock, member_R: npt.NDArray[np.bool_]) -> Filled | None:
    """How many members have a bar on each day, and another close than before; None where the close is not read."""
    if "close" not in block.fields:
        return None
    close_R = _numbers("close", block.fields["close"])
    rows = np.flatnonzero(~np.isnan(close_R))
    again_R = (close_R[rows[1:]] == close_R[rows[:-1]]) & (block.code_R[rows[1:]] == block.code_R[rows[:-1]])
    fresh_R = close_R.copy()
    fresh_R[rows[1:][again_R]] = np.nan
    return count_filled({"close": close_R[member_R], FRESH: fresh_R[member_R]}, block.datetime_R[member_R])


def _numbers(name: str, value_R: Float32) -> Float32:
    """The values of a field; a price of zero, as some write what is not known, is none."""
    return np.where(value_R == 0, np.float32(np.nan), value_R) if name in (*PRICES, "vwap") else value_R


def members(universe: Universe, start: Day, end: Day) -> list[str]:
    """Instruments with a span that reaches into the range, sorted."""
    begins = universe.start_K.astype("datetime64[D]") <= end.astype("datetime64[D]")
    reaches = begins & (universe.last_K.astype("datetime64[D]") >= start.astype("datetime64[D]"))
    return sorted({name for name, here in zip(universe.instrument_K, reaches, strict=True) if here})


def _float32(values: npt.NDArray[np.floating]) -> Float32:
    return values.astype(np.float32, copy=False)
