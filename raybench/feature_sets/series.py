"""What both ways of rolling share and needs no compiler."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def shift(x_L: NDArray[Any], rows: int) -> NDArray[Any]:
    """Take the value of ``rows`` rows ago (negative: rows ahead) along the last axis; NaN where there is none.

    >>> shift(np.array([1.0, 2.0, 3.0]), 1).tolist(), shift(np.array([1.0, 2.0, 3.0]), -1).tolist()
    ([nan, 1.0, 2.0], [2.0, 3.0, nan])
    """
    out_L = np.full_like(x_L, np.nan)
    if rows >= 0:
        out_L[..., rows:] = x_L[..., : max(x_L.shape[-1] - rows, 0)]
    else:
        out_L[..., :rows] = x_L[..., -rows:]
    return out_L
