"""The training loop, on one screen. It runs in a plain process or in every worker of a group.

    state = resumed or fresh
    for each phase (a pretraining, where the network has one, then the network itself):
        remember the losses of the samples, if the network asks for them
        for each epoch that is left:
            seed dropout from (seed, epoch, rank)
            train one pass over the batches of this epoch, and remember again
            validate on the whole segment, gathered from all workers
            keep the weights if the early-stopping metric improved
            stop after ``patience`` epochs without improvement, or when the reporter says so
            report (and so checkpoint) the state

The loss is the sum over all samples of weight x squared error, divided by the global count (see ``Batch``), or what
a network's own ``loss`` makes of it (see ``models.interface.objective``).

Shapes: x [B, W, F] windows, score and label [B]. Labels and windows hold no NaN; a loss that is not
finite stops the training at once with its cause.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from raybench.config import TrainConfig
from raybench.errors import TrainingError
from raybench.feeds.batches import Batch
from raybench.feeds.feeds import Feeds
from raybench.feeds.world import SOLO, World
from raybench.models import takes_dates
from raybench.models.precision import MixedPrecision
from raybench.progress import SILENT, Progress
from raybench.reports.text import numbered
from raybench.training.early_stopping import goodness, improves, should_stop
from raybench.training.optimization import Schedule, clip_and_measure, make_optimizer, squared_error
from raybench.training.reporter import SILENT as UNHEARD
from raybench.training.reporter import Reporter
from raybench.training.state import EpochRecord, TrainState
from raybench.training.validation import QlibBatch, Validation, forward, selects_by_loss, validate

CHECK_EVERY = 20  # steps between looks at the loss: each look makes a GPU wait


def fit(
    model: nn.Module,
    feeds: Feeds,
    options: TrainConfig,
    *,
    recipe: str = "raybench",
    world: World = SOLO,
    state: TrainState | None = None,
    reporter: Reporter = UNHEARD,
    progress: Progress = SILENT,
) -> TrainState:
    """Train ``model`` (already on its device and in its dtype) and return where it ended.

    ``state`` is a checkpoint to go on from. Every worker tells its ``reporter`` of each epoch.
    Raises TrainingError, on all workers at the same step, when the loss is no longer finite.
    """
    state = state or TrainState()
    phases = [*pretraining_of(model), model]
    if options.compile:
        model.compile()
    training = _Training(
        feeds=feeds, options=options, recipe=recipe, world=world, state=state, reporter=reporter, progress=progress
    )
    with _as_fitting(model):
        while not state.finished:
            phase = phases[state.phase]
            following = phases[state.phase + 1] if state.phase + 1 < len(phases) else None
            _fit_phase(training, phase, following)
    return state


@dataclass(frozen=True, slots=True, kw_only=True)
class _Training:
    """What is the same from the first epoch to the last; the state is, too, though what it holds moves on."""

    feeds: Feeds
    options: TrainConfig
    recipe: str
    world: World
    state: TrainState
    reporter: Reporter
    progress: Progress


@contextmanager
def _as_fitting(model: nn.Module) -> Iterator[None]:
    """Tell a network that asks for it that it is being trained, or validated, not used."""
    asks: Any = model if hasattr(model, "fitting") else SimpleNamespace()
    asks.fitting = True
    try:
        yield
    finally:
        asks.fitting = False


def pretraining_of(model: nn.Module) -> list[nn.Module]:
    """Return what is trained before ``model``: a module that shares layers with it, or nothing."""
    make: Any = getattr(model, "pretraining", None)
    phase: nn.Module | None = None if make is None else make()
    return [] if phase is None else [phase]


def _fit_phase(training: _Training, model: nn.Module, following: nn.Module | None) -> None:
    """Train one phase to its end: the state is then finished, or stands before the first epoch of ``following``."""
    options, world, state = training.options, training.world, training.state
    optimizer = make_optimizer(model, options)
    epochs = epochs_of(model, options)
    schedule = Schedule(optimizer, options, epochs)
    state.pretraining = following is not None
    state.last_epoch = state.phase_began + epochs + (0 if following is None else epochs_of(following, options))
    if state.weights:
        model.load_state_dict(state.weights)
    if state.optimizer:
        optimizer.load_state_dict(state.optimizer)
        schedule.load_state_dict(state.schedule)
    wrapped = world.wrap(model)

    phase = state.phase
    training.feeds.remember(model)
    while state.phase == phase and not state.finished:
        epoch, began = state.epoch + 1, time.monotonic()
        torch.manual_seed(epoch_seed(options.seed, epoch, world.rank))
        train = _train_epoch(training, wrapped, model, optimizer)
        average_statistics(model, world)
        training.feeds.remember(model)
        train, valid = _validate(training, model, train)
        _check_validation(valid, epoch, options)
        record = _record(epoch, time.monotonic() - began, train, valid, optimizer)
        schedule.step(_goodness(record, options, model))
        state.optimizer, state.schedule = optimizer.state_dict(), schedule.state_dict()
        _advance(training, record, model, following)
        training.reporter.report(state)


@dataclass(frozen=True, slots=True, kw_only=True)
class EpochSums:
    """Samples seen by the group, mean training loss and mean gradient norm of one epoch."""

    samples: float
    loss: float
    grad_norm: float


def _train_epoch(
    training: _Training, wrapped: nn.Module, model: nn.Module, optimizer: torch.optim.Optimizer
) -> EpochSums:
    options, world, state, feed = training.options, training.world, training.state, training.feeds.train
    autocast = _autocast(model, options)
    wrapped.train()
    epoch, count, samples, steps, unchecked = state.epoch + 1, 0.0, 0.0, 0, 0
    device = next(model.parameters()).device
    loss_sum = torch.zeros((), dtype=torch.float64, device=device)
    norm_sum = torch.zeros((), dtype=torch.float64, device=device)
    with training.progress.track(f"epoch {epoch}", feed.steps()) as advance:
        for batch in feed.epoch(epoch):
            numbered = replace(batch, step=state.steps + steps, group_sum=world.sum)
            loss = _backward(wrapped, model, numbered, options, world, autocast)
            norm = clip_and_measure(model, options)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            loss_sum += loss
            norm_sum += norm
            count, samples = count + batch.count, samples + (batch.samples or batch.count)
            steps, unchecked = steps + 1, unchecked + 1
            # The norm is of the gradient averaged over the group: all ranks see it break at the same step.
            if unchecked == CHECK_EVERY or device.type == "cpu":
                _check_step(norm_sum, batch, world, f"epoch {epoch}, step {steps}", options)
                unchecked = 0
            advance(1)
    if steps == 0:
        raise TrainingError(
            f"an epoch has no batch: the train segment has fewer samples than train.batch_size "
            f"{options.batch_size} and recipe qlib drops incomplete batches; lower train.batch_size"
        )
    state.steps += steps
    total = float(world.sum(loss_sum))
    return EpochSums(samples=samples, loss=total / count, grad_norm=float(norm_sum) / steps)


def _validate(training: _Training, model: nn.Module, train: EpochSums) -> tuple[EpochSums, Validation]:
    """Score the validation segment, and the training segment before it if its loss is to be that of this pass."""
    options, feeds = training.options, training.feeds
    autocast = _autocast(model, options)
    qlib_batch = _qlib_batch(model, options) if training.recipe == "qlib" else None
    if feeds.train_again is not None:
        again = validate(model, feeds.train_again, training.world, autocast=autocast, qlib_batch=qlib_batch)
        train = replace(train, loss=again.loss)
    return train, validate(model, feeds.valid, training.world, autocast=autocast, qlib_batch=qlib_batch)


def _backward(
    wrapped: nn.Module,
    model: nn.Module,
    batch: Batch,
    options: TrainConfig,
    world: World,
    autocast: torch.autocast | None,
) -> Tensor:
    """Accumulate the gradient of this worker's part of one global batch; return its summed loss.

    DistributedDataParallel averages over ranks; scaling by the group's size turns that into the sum over
    all samples divided by the global count, however unevenly the samples are spread.
    """
    total = torch.zeros((), dtype=torch.float64, device=batch.label_B.device)
    parts = list(batch.parts(options.accumulate_steps))
    for number, part in enumerate(parts, 1):
        with _exchange(wrapped, last=number == len(parts)):
            made = forward(wrapped, part.inputs, autocast)
            loss = objective(model, made, part)
            (loss * (world.size / batch.count)).backward()
        total += loss.detach()
    return total


def objective(model: nn.Module, made: Tensor, part: Batch) -> Tensor:
    """Return the loss summed over the samples of ``part``, the network's own where it has one."""
    own: Any = getattr(model, "loss", None)
    if own is not None:
        loss: Tensor = own(made, part)
        return loss
    return squared_error(made, part.label_B, part.weight_B)


def _exchange(wrapped: nn.Module, *, last: bool) -> AbstractContextManager[None]:
    """Exchange gradients with the last part of a batch only."""
    if last or not isinstance(wrapped, nn.parallel.DistributedDataParallel):
        return nullcontext()
    return wrapped.no_sync()


def epoch_seed(seed: int, epoch: int, rank: int) -> int:
    """Return the dropout seed of one rank in one epoch, so that no generator state need be stored."""
    return int(np.random.SeedSequence([seed, epoch, rank]).generate_state(1, np.uint64)[0])


def _qlib_batch(model: nn.Module, options: TrainConfig) -> QlibBatch:
    return "dates" if takes_dates(model) else options.batch_size


def _autocast(model: nn.Module, options: TrainConfig) -> torch.autocast | None:
    if options.precision != "bf16":
        return None
    return MixedPrecision(next(model.parameters()).device.type)


def _check_step(norm_sum: Tensor, batch: Batch, world: World, where: str, options: TrainConfig) -> None:
    if math.isfinite(float(norm_sum)):
        return
    # Every rank stands here at the same step, so all can agree on a cause that only one of them saw.
    broken = [~torch.isfinite(values).all() for values in (batch.inputs.x_BWF, batch.label_B)]
    features, labels = world.sum(torch.stack(broken).double().cpu()).tolist()
    if features:
        cause = "features hold NaN or inf; add ProcessInf and Fillna to data.processors.infer"
    elif labels:
        cause = "labels hold NaN or inf; add DropnaLabel to data.processors.learn and check data.label"
    else:
        cause = f"the training diverged; lower train.lr (now {options.lr:g}) or set train.grad_clip_norm"
    raise TrainingError(f"the loss is not finite in {where}: {cause}")


def _check_validation(valid: Validation, epoch: int, options: TrainConfig) -> None:
    if not math.isfinite(valid.loss):
        raise TrainingError(
            f"the validation loss is {valid.loss} in epoch {epoch}: the validation segment has no usable sample "
            "or the scores are not finite; check data.segments.valid, data.label and train.batch_size"
        )


def _record(
    epoch: int, seconds: float, train: EpochSums, valid: Validation, optimizer: torch.optim.Optimizer
) -> EpochRecord:
    return EpochRecord(
        epoch=epoch,
        seconds=seconds,
        samples_per_second=train.samples / seconds,
        train_loss=train.loss,
        valid_loss=valid.loss,
        valid_ic=valid.ic,
        valid_rank_ic=valid.rank_ic,
        grad_norm=train.grad_norm,
        lr=float(optimizer.param_groups[0]["lr"]),
    )


def _goodness(record: EpochRecord, options: TrainConfig, model: nn.Module) -> float:
    metric = "loss" if selects_by_loss(model) else options.early_stop.metric
    return goodness(metric, loss=record.valid_loss, ic=record.valid_ic, rank_ic=record.valid_rank_ic)


def epochs_of(phase: nn.Module, options: TrainConfig) -> int:
    """Return how many epochs a phase has at most."""
    return int(getattr(phase, "epochs", None) or options.max_epochs)


def _advance(training: _Training, record: EpochRecord, model: nn.Module, following: nn.Module | None) -> None:
    """Enter one epoch into the state and decide whether it was the last, of the phase or of all."""
    options, state, bank = training.options, training.state, training.feeds.bank
    state.epoch = record.epoch
    state.history.append(record)
    state.weights = copy_of_weights(model)
    value = _goodness(record, options, model)
    if improves(value, state.best):
        state.best, state.best_epoch, state.best_weights = value, record.epoch, state.weights
        state.best_memory = b"" if bank is None else bank.stored()
    stop = should_stop(record.epoch, max(state.best_epoch, state.phase_began), options.early_stop.patience)
    if (
        not _asked_to_stop(training, record)
        and not stop
        and record.epoch < state.phase_began + epochs_of(model, options)
    ):
        return
    if not state.best_epoch:
        raise TrainingError(
            f"train.early_stop.metric {options.early_stop.metric} was NaN in all "
            f"{numbered(record.epoch, 'epoch|epochs')}: the scores "
            "or the labels of the validation segment are constant on every date; use metric loss or check data.label"
        )
    if following is None:
        state.finished = True
        return
    model.load_state_dict(state.best_weights)  # and so the layers that it shares with the next
    state.next_phase(copy_of_weights(following))


def _asked_to_stop(training: _Training, record: EpochRecord) -> bool:
    """Ask whoever runs this; one rank that is asked to stop is enough, and all agree."""
    asked = training.reporter.asked_to_stop(record)
    return bool(training.world.sum(torch.tensor(float(asked), dtype=torch.float64)) > 0)


def copy_of_weights(model: nn.Module) -> dict[str, Tensor]:
    """Return the state of a network as it is now, on the CPU."""
    return {name: value.detach().cpu().clone() for name, value in model.state_dict().items()}


def average_statistics(model: nn.Module, world: World) -> None:
    """Give all workers the mean of their batch-norm statistics, so that they validate and store the same."""
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            for buffer in (module.running_mean, module.running_var):
                if buffer is not None:
                    buffer.copy_(world.sum(buffer) / world.size)
