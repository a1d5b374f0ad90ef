"""Alpha360: six fields on today's and the last 59 rows as a share of today's close (volume: today's volume).

Shapes: R rows of a block, 360 columns = 6 fields in FIELDS' order x lags 59 .. 0.
NaN rule: a lag before the first bar or on a suspended row is NaN, and so is a whole row whose own close is
NaN; without a vwap field its 60 columns are NaN.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from raybench.config.data.alpha_names import ALPHA360_FIELDS, ALPHA360_NAMES, ALPHA360_STEPS
from raybench.errors import DataError
from raybench.market.bars import BarBlock

NAMES: tuple[str, ...] = ALPHA360_NAMES
FIELDS: tuple[str, ...] = ALPHA360_FIELDS
STEPS = ALPHA360_STEPS

VOLUME_EPS = np.float32(1e-12)  # added to today's volume, so that a day without trade gives 0 and not NaN


def raw(block: BarBlock) -> NDArray[np.float32]:
    """Stack the six fields [R, 6] in FIELDS' order; an absent vwap is NaN."""
    missing = [field for field in FIELDS if field not in block.fields and field != "vwap"]
    if missing:
        wanted = f"{', '.join(FIELDS)} (vwap if there is one)"
        raise DataError(f"Alpha360 needs the fields {wanted}; the bars lack {', '.join(missing)}")
    raw_R6 = np.full((len(block.datetime_R), len(FIELDS)), np.nan, np.float32)
    for i, field in enumerate(FIELDS):
        if field in block.fields:
            raw_R6[:, i] = block.fields[field]
    return raw_R6


def compute(block: BarBlock) -> NDArray[np.float32]:
    """Compute the wide table [R, 360]: 60 times the bars' size."""
    from raybench.feature_sets.alpha360_wide import wide  # compiled, which windows of lags do without

    return wide(raw(block), block.start_N1, STEPS, VOLUME_EPS)
