"""Networks that are fitted directly, without gradient steps, in the shape of a training of one epoch.

    fit the weights from the training samples, each once
    measure the loss on them, and validate on the whole segment
    report (and so checkpoint) the state, which is finished

So they have the same history, metrics, checkpoints and artifact as any other. There is no gradient and no
learning rate: ``grad_norm`` and ``lr`` are NaN. Of ``train`` only batch_size, eval_batch_size (samples at a
time), seed, precision fp64, sample_weight and tensorboard have an effect.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator

from torch import nn

from raybench.config import Config, TrainConfig
from raybench.errors import TrainingError
from raybench.feeds.batches import EvaluationFeed, TrainingFeed
from raybench.feeds.feeds import Feeds
from raybench.feeds.world import SOLO, World
from raybench.models.interface.direct import FitsDirectly, LabelledSamples
from raybench.progress import SILENT, Progress
from raybench.training.early_stopping import goodness
from raybench.training.reporter import SILENT as UNHEARD
from raybench.training.reporter import Reporter
from raybench.training.state import EpochRecord, TrainState
from raybench.training.validation import validate


def feeding(config: Config) -> Config:
    """Return the configuration to make feeds by: no sample is left out of a batch, and a pass for the loss follows.

    What is a sample stays as ``recipe`` has it: that is decided where the panel is built.
    """
    return config.model_copy(
        update={"recipe": "raybench", "train": config.train.model_copy(update={"extra_train_pass": True})}
    )


def fit_at_once(
    model: nn.Module,
    feeds: Feeds,
    options: TrainConfig,
    *,
    world: World = SOLO,
    reporter: Reporter = UNHEARD,
    progress: Progress = SILENT,
) -> TrainState:
    """Fit ``model`` (already on its device and in its dtype), a network with ``fit_directly``.

    ``feeds`` are made by :func:`feeding`. ``reporter`` is told once, by every worker. Raises TrainingError, on
    all workers, if the samples are of no use.
    """
    assert isinstance(model, FitsDirectly)
    assert feeds.train_again is not None, "see feeding()"
    began = time.monotonic()
    seen = _Samples(feeds.train, progress)
    model.fit_directly(seen, _Validation(feeds.valid), total=world.sum, seed=options.seed)
    again = validate(model, feeds.train_again, world, autocast=None, qlib_batch=None)
    valid = validate(model, feeds.valid, world, autocast=None, qlib_batch=None)
    if not math.isfinite(valid.loss):
        raise TrainingError(
            f"the validation loss is {valid.loss}: the validation segment has no usable sample or the scores are not "
            "finite; check data.segments.valid and data.label"
        )
    seconds = time.monotonic() - began
    record = EpochRecord(
        epoch=1,
        seconds=seconds,
        samples_per_second=seen.samples / seconds,
        train_loss=again.loss,
        valid_loss=valid.loss,
        valid_ic=valid.ic,
        valid_rank_ic=valid.rank_ic,
        grad_norm=math.nan,
        lr=math.nan,
    )
    state = _finished(model, record, options)
    reporter.report(state)
    return state


def _finished(model: nn.Module, record: EpochRecord, options: TrainConfig) -> TrainState:
    weights = {name: value.detach().cpu().clone() for name, value in model.state_dict().items()}
    best = goodness(options.early_stop.metric, loss=record.valid_loss, ic=record.valid_ic, rank_ic=record.valid_rank_ic)
    return TrainState(
        epoch=1,
        best_epoch=1,
        best=best,
        finished=True,
        weights=weights,
        best_weights=weights,
        history=[record],
    )


class _Samples:
    """This worker's training samples, each once; counts those of the whole group while they pass."""

    def __init__(self, feed: TrainingFeed, progress: Progress) -> None:
        self._feed, self._progress = feed, progress
        self.samples = 0.0

    def __iter__(self) -> Iterator[LabelledSamples]:
        self.samples = 0.0
        with self._progress.track("fitting", self._feed.steps()) as advance:
            for batch in self._feed.epoch(1):
                yield LabelledSamples(x_BWF=batch.inputs.x_BWF, label_B=batch.label_B, weight_B=batch.weight_B)
                self.samples += batch.samples or batch.count
                advance(1)


class _Validation:
    """This worker's validation samples that have a label."""

    def __init__(self, feed: EvaluationFeed) -> None:
        self._feed = feed

    def __iter__(self) -> Iterator[LabelledSamples]:
        for inputs, rows in self._feed.batches():
            label_B = rows.label_B.to(inputs.x_BWF.device)
            known_B = ~label_B.isnan()
            yield LabelledSamples(
                x_BWF=inputs.x_BWF, label_B=label_B.where(known_B, 0.0), weight_B=known_B.to(label_B.dtype)
            )
