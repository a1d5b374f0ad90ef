"""How bars are cut into files, and files into row groups, so that few of either are read for a range of dates.

T calendar entries. The newest ``RECENT`` entries or more have files of their own, which is all that a new date looks
back on; older ones are in files of whole instruments up to there, which is what a training reads. Within a file
the rows of a few instruments over some hundred entries make a row group. How rows are cut depends on the
calendar and on how many rows there are, so equal bars give equal files.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from raybench.columns.types import Moments
from raybench.market.bars import BarBlock, cut
from raybench.market.bars_metadata import BarsFile
from raybench.market.calendar import positions
from raybench.market.quality import clock
from raybench.storage import parquet
from raybench.storage.encoding import encode_table

FILE_BYTES = 48 << 20  # of values; compressed a file is about two thirds of that
ROW_GROUP_ROWS = 16_384
RECENT = 256

Put = Callable[[str, bytes], None]


class PartsWriter:
    """Takes blocks of whole instruments in sorted order and puts files in place."""

    def __init__(self, put: Put, calendar_T: Moments, *, first: int = 0, recent: bool = True) -> None:
        """``first``: the number of the first file. ``recent``: whether the newest entries have files of their own."""
        self.files: list[BarsFile] = []
        self._put = put
        self._calendar_T = calendar_T
        self._number = first
        self._apart = recent
        self._edge = _recent_edge(len(calendar_T)) if recent else 0
        self._recent: list[BarBlock] = []

    def add(self, block: BarBlock) -> None:
        """Write what is old, and remember what is recent until it is a file."""
        if not block.rows:
            return
        if self._edge or not self._apart:
            since = self._calendar_T[self._edge]
            self._write(block.where(block.datetime_R < since))
            self._recent.append(block.where(block.datetime_R >= since))
        else:
            self._write(block)
        if sum(each.rows for each in self._recent) >= rows_of_file(len(block.fields)):
            self._flush()

    def finish(self) -> tuple[BarsFile, ...]:
        """Write the rest -> the files, older ones first."""
        self._flush()
        return tuple(sorted(self.files, key=self._is_recent))

    def _is_recent(self, file: BarsFile) -> bool:
        return bool(self._edge and file.span()[0] >= self._calendar_T[self._edge])

    def _flush(self) -> None:
        blocks, self._recent = self._recent, []
        if blocks:
            self._write(joined_blocks(blocks))

    def _write(self, block: BarBlock) -> None:
        if not block.rows:
            return
        self.files.append(self._published(block))
        self._number += 1

    def _published(self, block: BarBlock) -> BarsFile:
        order_R, groups = _tiles(block, positions(self._calendar_T, block.datetime_R))
        names = pa.array(block.instruments, pa.string())
        table = pa.table(
            {
                "instrument": names.take(pa.array(block.code_R[order_R])),
                "datetime": pa.array(block.datetime_R[order_R].astype("datetime64[us]"), pa.timestamp("us")),
                **{name: pa.array(value_R[order_R], pa.float32()) for name, value_R in block.fields.items()},
            }
        )
        data = encode_table(
            table,
            row_groups=groups,
            compression_level=1,
            use_dictionary=["instrument"],
            use_byte_stream_split=list(block.fields),
        )
        sha256 = hashlib.sha256(data).hexdigest()
        name = f"bars/part-{self._number:05d}-{sha256[:16]}.parquet"
        self._put(name, data)
        return BarsFile(
            name=name,
            rows=block.rows,
            instruments=block.instruments,
            counts=tuple(np.diff(block.start_N1).tolist()),
            first=clock(block.datetime_R.min()),
            last=clock(block.datetime_R.max()),
            bytes=len(data),
            sha256=sha256,
            footer=parquet.footer_hash(data),
        )


def rows_of_file(fields: int) -> int:
    """How many rows of so many fields make a file."""
    return max(FILE_BYTES // (8 + 4 * fields), 1)


def groups_of_file(names: Sequence[str], counts: Sequence[int], fields: int) -> Iterator[tuple[str, ...]]:
    """The instruments of one file after another."""
    yield from cut(names, counts, rows_of_file(fields))


def joined_blocks(blocks: Sequence[BarBlock]) -> BarBlock:
    """Blocks of different instruments, in sorted order, as one."""
    counts = [count for block in blocks for count in np.diff(block.start_N1).tolist()]
    return BarBlock(
        instruments=tuple(itertools.chain.from_iterable(block.instruments for block in blocks)),
        start_N1=np.cumsum([0, *counts]).astype(np.int64),
        datetime_R=np.concatenate([block.datetime_R for block in blocks]),
        fields={name: np.concatenate([block.fields[name] for block in blocks]) for name in blocks[0].fields},
    )


def _recent_edge(entries: int) -> int:
    """From which position on entries are recent; 0 where there are too few to tell them apart."""
    return max(entries // RECENT - 1, 0) * RECENT


def _tiles(block: BarBlock, at_R: Any) -> tuple[Any, list[int]]:
    """The order of the rows in a file, and how many each row group takes."""
    entries = RECENT * max(ROW_GROUP_ROWS // (RECENT * len(block.instruments)), 1)
    several = max(ROW_GROUP_ROWS // entries, 1)
    code_R = block.code_R.astype(np.int64)
    tile_R = (code_R // several) * (int(at_R.max()) // entries + 1) + at_R // entries
    order_R = np.argsort(tile_R, kind="stable")  # within a tile by instrument and time, as they are
    _, counts = np.unique(tile_R, return_counts=True)
    return order_R, counts.tolist()
