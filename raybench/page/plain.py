"""Tables and numbers as what JSON knows."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd


def records(frame: pd.DataFrame) -> dict[str, list[Any]]:
    """A table as lists by column."""
    return {str(name): frame[name].tolist() for name in frame}


def plain(value: Any) -> Any:
    """Only what JSON knows: NaN and infinities become null, dates ISO text."""
    match value:
        case Mapping():
            return {str(k): plain(v) for k, v in value.items()}
        case list() | tuple():
            return [plain(v) for v in value]
        case pd.Timestamp():
            return value.isoformat()
        case float() | np.floating():
            return float(value) if math.isfinite(value) else None
        case np.integer():
            return int(value)
        case _:
            return value
