"""The compiled part of Alpha360: the wide table of all lags out of the six fields. NaN: see ``alpha360``."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from raybench.feature_sets.compiled import compiled


@compiled
def wide(
    raw_R6: NDArray[np.float32], start_N1: NDArray[np.int64], steps: int, volume_eps: np.float32
) -> NDArray[np.float32]:
    """Compute [R, 6 * steps] from [R, 6]; rows of one instrument see none of another's."""
    rows, fields = raw_R6.shape
    out = np.full((rows, fields * steps), np.float32(np.nan), np.float32)
    for n in range(start_N1.size - 1):
        first = start_N1[n]
        for row in range(first, start_N1[n + 1]):
            known = min(row - first + 1, steps)
            for f in range(fields):
                scale = raw_R6[row, fields - 1] + volume_eps if f == fields - 1 else raw_R6[row, 0]
                newest = (f + 1) * steps - 1
                for lag in range(known):
                    out[row, newest - lag] = raw_R6[row - lag, f] / scale
    return out
