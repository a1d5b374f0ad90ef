"""What a trial reports of each epoch, so that trials can be compared while they run.

Schedulers and searches compare ``GOODNESS``: the metric searched by, of the epoch whose weights are kept so far,
turned so that more is better. It is finite, since they take means and percentiles of it; ``metric`` is not turned, and
NaN where there is none.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, fields
from typing import Any

from raybench.config.schema import Metric, TrainConfig
from raybench.training.early_stopping import goodness, improves
from raybench.training.state import EpochRecord, TrainState

CAUSE, KIND, GOODNESS = "cause", "cause_kind", "goodness"
WORST = -1e30


def state_metrics(state: TrainState, metric: Metric) -> dict[str, Any]:
    """What is reported of the last epoch of a training."""
    best = state.best_record() if state.best_epoch else None
    return epoch_metrics(state.history[-1], best, metric, finished=state.finished)


def epoch_metrics(
    record: EpochRecord, best: EpochRecord | None, metric: Metric, *, finished: bool = False
) -> dict[str, Any]:
    """What Tune is told of an epoch; ``best`` is the one whose weights are kept so far."""
    value = math.nan if best is None else float(getattr(best, f"valid_{metric}"))
    return {
        **asdict(record),
        "metric": value,
        "best_epoch": 0 if best is None else best.epoch,
        GOODNESS: WORST if not math.isfinite(value) else -value if metric == "loss" else value,
        "finished": finished,
    }


def fatal_metrics(cause: str, kind: str) -> dict[str, Any]:
    """What Tune is told of a trial that came to nothing, and would again."""
    none = dict.fromkeys([name.name for name in fields(EpochRecord)], math.nan)
    return {**none, "metric": math.nan, "best_epoch": 0, GOODNESS: WORST, CAUSE: cause, KIND: kind, "done": True}


def replayed(history: Sequence[EpochRecord], options: TrainConfig, metric: Metric) -> Iterator[dict[str, Any]]:
    """What Tune was told of each epoch of a history."""
    best: EpochRecord | None = None
    reached = -math.inf
    for record in history:
        value = goodness(
            options.early_stop.metric, loss=record.valid_loss, ic=record.valid_ic, rank_ic=record.valid_rank_ic
        )
        if improves(value, reached):
            best, reached = record, value
        yield epoch_metrics(record, best, metric)
