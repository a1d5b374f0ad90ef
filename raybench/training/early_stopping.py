"""When to stop: Qlib's rule, strict improvement within ``patience`` epochs.

Pure decisions on numbers; who acts on them is the loop.
"""

from __future__ import annotations

import math
from typing import Literal

Metric = Literal["loss", "ic", "rank_ic"]


def goodness(metric: Metric, *, loss: float, ic: float, rank_ic: float) -> float:
    """Return the chosen validation metric, turned so that more is better; NaN counts as worst."""
    value = {"loss": -loss, "ic": ic, "rank_ic": rank_ic}[metric]
    return -math.inf if math.isnan(value) else value


def improves(value: float, best: float) -> bool:
    """Say whether ``value`` beats ``best``: an equal epoch is no improvement."""
    return value > best


def should_stop(epoch: int, best_epoch: int, patience: int) -> bool:
    """Say whether ``patience`` epochs have passed since the best one (0: none was good yet)."""
    return epoch - best_epoch >= patience
