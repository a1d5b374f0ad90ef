"""What people see of a training that runs elsewhere: one bar that counts epochs, and what the last one brought."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

from raybench.config import Config, TrainConfig
from raybench.progress import Advance, Progress
from raybench.reports.text import numbered
from raybench.training.early_stopping import goodness, improves

LONG_EPOCH_SECONDS = 3.0  # after which the steps of an epoch are shown too
NAMES = {"loss": "valid loss", "ic": "IC", "rank_ic": "Rank IC"}


class EpochBars:
    """Turns the workers' events into a bar of epochs, and one of steps within an epoch that takes long.

    ``train``: of the configuration; ``last_epoch``: what can be the last, None if only the workers know;
    ``name``: what is trained, such as ``seed 3 (2 of 5)``.
    """

    def __init__(
        self,
        progress: Progress,
        train: TrainConfig,
        *,
        last_epoch: int | None = None,
        name: str = "training",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._last_epoch = last_epoch
        self._progress, self._train, self._name, self._clock = progress, train, name, clock
        self._bar: AbstractContextManager[Advance] | None = None
        self._advance: Advance | None = None
        self._steps: AbstractContextManager[Advance] | None = None
        self._advance_steps: Advance | None = None
        self._stage, self._done, self._began = "", 0, 0.0
        self._epoch, self._best_epoch, self._best = 0, 0, float("-inf")

    def __enter__(self) -> EpochBars:
        return self

    def __exit__(self, *failure: object) -> None:
        self._close_steps()
        if self._bar is not None:
            self._bar.__exit__(None, None, None)
        self._bar = self._advance = None

    def hear(self, kind: str, value: Any) -> None:
        """Take one event of :class:`raybench.cluster.journal.Journal`."""
        if kind == "step":
            self._step(*value)
        elif kind == "note":
            self._progress.note(value)
        elif kind == "epoch" and value["epoch"] > self._epoch:  # a restarted worker may say it again
            self._close_steps()
            self._open(self._last_epoch or int(value.get("last_epoch") or self._train.max_epochs))
            self._ended(value)

    def _open(self, last_epoch: int) -> None:
        if self._bar is None:
            self._bar = self._progress.track(self._name, last_epoch, at_most=True)
            self._advance = self._bar.__enter__()

    def _step(self, stage: str, total: int | None, done: int) -> None:
        if self._last_epoch is not None:
            self._open(self._last_epoch)
        if stage != self._stage or done < self._done:
            self._close_steps()
            self._stage, self._done, self._began = stage, 0, self._clock()
        elif self._steps is None and self._clock() - self._began > LONG_EPOCH_SECONDS and done != total:
            self._steps = self._progress.track(stage, total)
            self._advance_steps = self._steps.__enter__()
            self._done = 0
        if self._advance_steps is not None:
            self._advance_steps(done - self._done)
        self._done = done

    def _ended(self, record: Mapping[str, Any]) -> None:
        metric = self._train.early_stop.metric
        good = goodness(metric, loss=record["valid_loss"], ic=record["valid_ic"], rank_ic=record["valid_rank_ic"])
        if "best_epoch" in record:
            self._best_epoch = int(record["best_epoch"])
        elif improves(good, self._best):
            self._best_epoch = int(record["epoch"])
        self._best = max(self._best, good)
        ahead = int(record["epoch"]) - self._epoch
        self._epoch = int(record["epoch"])
        if self._advance is not None:
            self._advance(ahead, text=epoch_text(record, self._train, self._best_epoch))

    def _close_steps(self) -> None:
        if self._steps is not None:
            self._steps.__exit__(None, None, None)
        self._steps = self._advance_steps = None


def epoch_bars(config: Config, progress: Progress, name: str = "training") -> EpochBars:
    """The bars of a training of ``config``."""
    last_epoch = 1 if config.model.fitting == "direct" else config.train.max_epochs
    known = None if getattr(config.model, "pretrain", False) else last_epoch  # a pretraining has epochs of its own
    return EpochBars(progress, config.train, last_epoch=known, name=name)


def names(configs: Sequence[Config]) -> list[str]:
    """What the bars of several trainings are called: one seed is just a training."""
    if len(configs) == 1:
        return ["training"]
    return [f"seed {config.train.seed} ({number} of {len(configs)})" for number, config in enumerate(configs, 1)]


def epoch_text(record: Mapping[str, Any], train: TrainConfig, best_epoch: int) -> str:
    """Say in a few words what an epoch brought, and how near the training is to stopping early."""
    metric = train.early_stop.metric
    value = record[f"valid_{metric}"]
    brought = f"{NAMES[metric]} {value:.5f}" if metric == "loss" else f"{NAMES[metric]} {value:.4f}"
    if metric != "rank_ic":
        brought += f", Rank IC {record['valid_rank_ic']:.4f}"
    since = int(record["epoch"]) - best_epoch
    near = (
        f"no better for {since} of {numbered(train.early_stop.patience, 'epoch|epochs')}" if since else "the best yet"
    )
    return f"{near}, {brought}"  # what is cut in a narrow terminal comes last
