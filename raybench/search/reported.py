"""What a trial reports of each epoch, so that trials can be compared while they run.

Schedulers and searches compare ``GOODNESS``: the metric searched by, of the epoch whose weights are kept so far,
turned so that more is better. It is finite, since they take means and percentiles of it; ``metric`` is not turned, and
NaN where there is none. Their time is ``OWN_EPOCH``: a pretraining, which has no such metric, is not told of, and how
long it took counts with the first epoch after it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import asdict, fields
from typing import Any

from raybench.config.schema import Metric, TrainConfig
from raybench.training.early_stopping import goodness, improves
from raybench.training.state import EpochRecord, TrainState

CAUSE, KIND, GOODNESS, OWN_EPOCH = "cause", "cause_kind", "goodness", "own_epoch"
WORST = -1e30


def state_metrics(state: TrainState, metric: Metric) -> dict[str, Any]:
    """What is reported of the last epoch of a training; its ``OWN_EPOCH`` is 0 while the network is pretrained."""
    best = state.best_record() if state.best_epoch else None
    own = len(state.own_history())
    return epoch_metrics(state.history[-1], best, metric, own=own, before=_before(state, own), finished=state.finished)


def epoch_metrics(
    record: EpochRecord,
    best: EpochRecord | None,
    metric: Metric,
    *,
    own: int,
    before: float = 0.0,
    finished: bool = False,
) -> dict[str, Any]:
    """What Tune is told of an epoch; ``best`` is the one whose weights are kept so far.

    ``own``: which of the network itself it is, from 1 on. ``before``: seconds to be counted with it.
    """
    value = math.nan if best is None else float(getattr(best, f"valid_{metric}"))
    return {
        **asdict(record),
        "seconds": record.seconds + before,
        OWN_EPOCH: own,
        "metric": value,
        "best_epoch": 0 if best is None else best.epoch,
        GOODNESS: WORST if not math.isfinite(value) else -value if metric == "loss" else value,
        "finished": finished,
    }


def fatal_metrics(cause: str, kind: str) -> dict[str, Any]:
    """What Tune is told of a trial that came to nothing, and would again."""
    none = dict.fromkeys([*(name.name for name in fields(EpochRecord)), OWN_EPOCH], math.nan)
    return {**none, "metric": math.nan, "best_epoch": 0, GOODNESS: WORST, CAUSE: cause, KIND: kind, "done": True}


def replayed(
    state: TrainState, options: TrainConfig, metric: Metric, *, until: int | None = None
) -> Iterator[dict[str, Any]]:
    """What Tune was told of each epoch of a training, up to the one numbered ``until``."""
    best: EpochRecord | None = None
    reached = -math.inf
    for own, record in enumerate(state.own_history(), 1):
        if until is not None and record.epoch > until:
            return
        value = goodness(
            options.early_stop.metric, loss=record.valid_loss, ic=record.valid_ic, rank_ic=record.valid_rank_ic
        )
        if improves(value, reached):
            best, reached = record, value
        yield epoch_metrics(record, best, metric, own=own, before=_before(state, own))


def _before(state: TrainState, own: int) -> float:
    """Seconds of the pretraining, at the first epoch after it."""
    return sum(record.seconds for record in state.history[: state.phase_began]) if own == 1 else 0.0
