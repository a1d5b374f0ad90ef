"""Optimizer, learning-rate schedule, loss and clipping, as the configuration names them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import SGD, Adam, AdamW, Optimizer
from torch.optim.lr_scheduler import CosineAnnealingLR, LinearLR, LRScheduler, ReduceLROnPlateau, SequentialLR

from raybench.config import TrainConfig
from raybench.config.schema import CosineLR, PlateauLR
from raybench.training.state import TrainState


def make_optimizer(model: nn.Module, options: TrainConfig) -> Optimizer:
    """Return the optimizer over all parameters of ``model``."""
    if options.optimizer == "sgd":
        return SGD(model.parameters(), options.lr, momentum=options.momentum, weight_decay=options.weight_decay)
    kind = Adam if options.optimizer == "adam" else AdamW
    return kind(model.parameters(), options.lr, weight_decay=options.weight_decay)


class Schedule:
    """Moves the learning rate once an epoch, of ``epochs`` at most; what it does is set by ``train.lr_schedule``."""

    def __init__(self, optimizer: Optimizer, options: TrainConfig, epochs: int) -> None:
        self._scheduler: LRScheduler | None = None
        match options.lr_schedule:
            case CosineLR() as wanted:
                self._scheduler = _cosine(optimizer, wanted, epochs)
            case PlateauLR() as wanted:
                self._scheduler = ReduceLROnPlateau(
                    optimizer,
                    mode="max",
                    factor=wanted.factor,
                    patience=wanted.patience,
                    threshold=0.0,
                    eps=0.0,  # torch would ignore steps below 1e-8
                    min_lr=wanted.min_lr,
                )

    def step(self, goodness: float) -> None:
        """End an epoch whose early-stopping metric, turned so that more is better, is ``goodness``."""
        if isinstance(self._scheduler, ReduceLROnPlateau):
            self._scheduler.step(goodness)
        elif self._scheduler is not None:
            self._scheduler.step()

    def state_dict(self) -> dict[str, object]:
        """Return what :meth:`load_state_dict` needs to go on."""
        return {} if self._scheduler is None else self._scheduler.state_dict()

    def load_state_dict(self, state: dict[str, object]) -> None:
        """Go on where the schedule that gave ``state`` stood."""
        if self._scheduler is not None:
            self._scheduler.load_state_dict(state)


def with_options(state: TrainState, there: float, options: TrainConfig) -> None:
    """Make a state that was reached at a learning rate of ``there`` go on with ``options`` instead.

    Learning rates keep their place in the schedule: they are scaled. What the optimizer remembers of gradients stays.
    """
    ratio = options.lr / there
    for group in state.optimizer.get("param_groups", ()):
        for name in {"lr", "initial_lr"} & group.keys():
            group[name] *= ratio
        given = {"weight_decay": options.weight_decay, "momentum": options.momentum}
        group.update({name: value for name, value in given.items() if name in group})
    state.schedule = _scaled(state.schedule, ratio)


def _scaled(schedule: Any, ratio: float) -> Any:
    """Scale the learning rates that a torch scheduler, or one inside it, has stored."""
    if isinstance(schedule, dict):
        return {
            key: [each * ratio for each in value] if key in ("base_lrs", "_last_lr") else _scaled(value, ratio)
            for key, value in schedule.items()
        }
    return [_scaled(each, ratio) for each in schedule] if isinstance(schedule, list) else schedule


def _cosine(optimizer: Optimizer, wanted: CosineLR, epochs: int) -> LRScheduler:
    warmup = wanted.warmup_epochs
    cosine = CosineAnnealingLR(optimizer, T_max=max(epochs - warmup, 1), eta_min=wanted.min_lr)
    if not warmup:
        return cosine
    linear = LinearLR(optimizer, start_factor=1.0 / (warmup + 1), total_iters=warmup)
    return SequentialLR(optimizer, [linear, cosine], milestones=[warmup])


def squared_error(score_B: Tensor, label_B: Tensor, weight_B: Tensor | None) -> Tensor:
    """Sum over the batch of weight * (score - label)^2; the caller divides by the global count.

    With weights the divisor is still the count, not the sum of weights, as in Qlib's reweighted losses.
    """
    error_B = (score_B - label_B).square()
    return (error_B if weight_B is None else error_B * weight_B).sum()


def clip_and_measure(model: nn.Module, options: TrainConfig) -> Tensor:
    """Return the norm of the whole gradient, then clip it in place by value and by norm as configured."""
    parameters = [p for p in model.parameters() if p.grad is not None]
    grads = [p.grad for p in parameters if p.grad is not None]
    norm = torch.nn.utils.get_total_norm(grads)
    if options.grad_clip_norm is not None:
        torch.nn.utils.clip_grads_with_norm_(parameters, options.grad_clip_norm, norm)
    if options.grad_clip_value is not None:
        torch.nn.utils.clip_grad_value_(parameters, options.grad_clip_value)
    return norm
