"""From tables of rows, as files have them, to a block of bars.

R rows of a piece, which is some rows of some instruments: of one instrument in the order of time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from raybench.columns.arrow import to_array
from raybench.columns.types import Floats, Moments
from raybench.market.block import BarBlock

Piece = tuple[NDArray[np.int32], Moments, list[Floats]]
"""The code of the instrument of each row, its moment, and the values of each field."""


def inside(when_R: Moments, first: np.datetime64 | None, last: np.datetime64 | None) -> NDArray[np.bool_]:
    """Which moments are from ``first`` to ``last``, where these are given -> [R]."""
    mask_R = np.ones(len(when_R), dtype=bool)
    if first is not None:
        mask_R &= when_R >= first
    if last is not None:
        mask_R &= when_R <= last
    return mask_R


def piece_of(
    table: Any,
    code_of: Mapping[str, int],
    fields: Sequence[str],
    first: np.datetime64 | None,
    last: np.datetime64 | None,
) -> Piece:
    """The rows of a table whose instrument has a code and whose moment is in the range."""
    named = table["instrument"].combine_chunks()
    named = named.chunk(0) if isinstance(named, pa.ChunkedArray) and named.num_chunks else named
    if not table.num_rows:
        return np.empty(0, np.int32), np.empty(0, "datetime64[us]"), [np.empty(0, np.float32) for _ in fields]
    code_C = np.array([code_of.get(name, -1) for name in named.dictionary.to_pylist()], np.int32)
    code_R = code_C[to_array(named.indices)]
    when_R = to_array(table["datetime"].cast(pa.timestamp("us")))
    kept_R = (code_R >= 0) & inside(when_R, first, last)
    values = [to_array(table[field]) for field in fields]
    if kept_R.all():
        return code_R, when_R, values
    return code_R[kept_R], when_R[kept_R], [value_R[kept_R] for value_R in values]


def assembled(names: Sequence[str], fields: Sequence[str], pieces: Sequence[Piece], *, whole: bool) -> BarBlock:
    """The pieces as a block; what an instrument has in a later one is later in time.

    Instruments without a row are left out, unless the block is ``whole``.
    """
    code_R = np.concatenate([np.empty(0, np.int32), *(piece[0] for piece in pieces)])
    when_R = np.concatenate([np.empty(0, "datetime64[us]"), *(piece[1] for piece in pieces)])
    values = [np.concatenate([np.empty(0, np.float32), *(piece[2][k] for piece in pieces)]) for k in range(len(fields))]
    if np.any(code_R[1:] < code_R[:-1]):
        small = code_R.astype(np.int16) if len(names) < 2**15 else code_R  # which numpy sorts by digits
        order_R = np.argsort(small, kind="stable")
        code_R, when_R, values = code_R[order_R], when_R[order_R], [value_R[order_R] for value_R in values]
    counts_N = np.bincount(code_R, minlength=len(names))
    there_N = np.ones(len(names), bool) if whole else counts_N > 0
    return BarBlock(
        instruments=tuple(name for name, there in zip(names, there_N, strict=True) if there),
        start_N1=np.cumsum([0, *counts_N[there_N]]).astype(np.int64),
        datetime_R=when_R,
        fields=dict(zip(fields, values, strict=True)),
    )
