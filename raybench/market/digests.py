"""What rows are, in 128 bits: a sum over rows, so that rows in two files have the sum of the two digests.

Shapes: R rows of one or more instruments, N instruments. Each row is hashed with its moment, and sums do not know an
order; so how rows are cut into files changes nothing, and rows that are added change the digest without the others
being read. NaN rule: every NaN is the same. It tells apart what accidents make, not what somebody contrives.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from raybench.market.bars import BarBlock

Words = NDArray[np.uint64]
NOTHING = "0" * 32
_LIMIT = 1 << 64
_ONE = np.uint64(0x9E3779B97F4A7C15)  # so that no row of zeros is hashed to zero


def row_words(block: BarBlock, fields: Sequence[str]) -> tuple[Words, Words]:
    """Two words for each row of a block -> [R], [R]."""
    high_R = _mixed(block.datetime_R.astype("datetime64[us]").astype(np.int64).view(np.uint64) + _ONE)
    for name in fields:
        value_R = block.fields[name]
        bits_R = np.where(np.isnan(value_R), np.float32(np.nan), value_R).astype(np.float32).view(np.uint32)
        high_R = _mixed(high_R ^ bits_R.astype(np.uint64))
    return high_R, _mixed(high_R + _ONE)


def digests(block: BarBlock, fields: Sequence[str]) -> list[str]:
    """The digest of the rows of each instrument of a block, by ``fields`` in this order -> [N]."""
    if not block.rows:
        return [NOTHING] * len(block.instruments)
    words = row_words(block, fields)
    starts, counts = block.start_N1[:-1], np.diff(block.start_N1)
    there = counts > 0
    sums = np.zeros((2, len(counts)), np.uint64)
    for k, word_R in enumerate(words):
        if there.any():
            sums[k, there] = np.add.reduceat(word_R, starts[there])
    return [f"{high:016x}{low:016x}" for high, low in sums.T.tolist()]


def added(left: str, right: str) -> str:
    """The digest of the rows of both."""
    halves = [(int(left[k : k + 16], 16) + int(right[k : k + 16], 16)) % _LIMIT for k in (0, 16)]
    return "".join(f"{half:016x}" for half in halves)


def _mixed(word_R: Words) -> Words:
    """Each bit of a word in all bits of the result, one to one (the finalizer of splitmix64)."""
    word_R = (word_R ^ (word_R >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    word_R = (word_R ^ (word_R >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return word_R ^ (word_R >> np.uint64(31))
