"""The types of columns: points in time, datetime64[us] without zone; numbers, float32, NaN for nothing."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Moments = NDArray[np.datetime64]
Floats = NDArray[np.float32]
