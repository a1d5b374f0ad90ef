"""The validation pass: scores of the whole segment, gathered from all workers, and what they are worth."""

from __future__ import annotations

import math
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from raybench.feeds.batches import Batch, EvaluationFeed
from raybench.feeds.world import World
from raybench.metrics.signal import correlations, rank_correlations
from raybench.models.interface.inputs import Inputs

QlibBatch = int | Literal["dates"] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Validation:
    """Loss on processed labels; mean daily IC and Rank IC against raw labels (NaN on no usable date)."""

    loss: float
    ic: float
    rank_ic: float


@torch.no_grad()
def validate(
    model: nn.Module,
    feed: EvaluationFeed,
    world: World,
    *,
    autocast: torch.autocast | None,
    qlib_batch: QlibBatch,
) -> Validation:
    """Score every sample of ``feed`` in evaluation mode and summarise over the whole group.

    ``qlib_batch``: average the loss as Qlib does, the unweighted mean over batches of that size with the
    incomplete last one dropped, or over dates; None averages over all samples.
    """
    model.eval()
    if selects_by_loss(model):
        return Validation(loss=_own_loss(model, feed, world, autocast), ic=math.nan, rank_ic=math.nan)
    parts: list[tuple[Tensor, ...]] = []
    for inputs, rows in feed.batches():
        score_B = forward(model, inputs, autocast).double().cpu()
        group_B = rows.date_B if rows.group_B is None else rows.group_B
        parts.append((score_B, rows.label_B.double(), rows.raw_label_B.double(), rows.date_B, group_B, rows.position_B))
    columns = [torch.cat(column) for column in zip(*parts, strict=True)] if parts else _no_samples()
    score_S, label_S, raw_S, date_S, group_S, position_S = (world.gather(column).numpy() for column in columns)
    order = np.argsort(position_S, kind="stable")
    score_S, label_S, raw_S, date_S, group_S = (a[order] for a in (score_S, label_S, raw_S, date_S, group_S))
    ic, rank_ic = mean_ic(score_S, raw_S, date_S)
    if qlib_batch == "dates":
        loss = mean_of_means(np.square(score_S - label_S), group_S)
    else:
        loss = mean_squared_error(score_S, label_S, qlib_batch)
    return Validation(loss=loss, ic=ic, rank_ic=rank_ic)


def selects_by_loss(model: nn.Module) -> bool:
    """Say whether a phase is judged by its own loss on the validation segment: it gives no scores."""
    return getattr(model, "selects_by", "score") == "loss"


def _own_loss(model: nn.Module, feed: EvaluationFeed, world: World, autocast: torch.autocast | None) -> float:
    loss: Any = model.loss
    sums = torch.zeros(2, dtype=torch.float64)
    for inputs, rows in feed.batches():
        label_B = rows.label_B.to(inputs.x_BWF.device)
        batch = Batch(inputs=inputs, label_B=label_B, weight_B=None, count=float(len(inputs)))
        sums += torch.tensor([float(loss(forward(model, inputs, autocast), batch)), batch.count])
    total, count = world.sum(sums).tolist()
    return total / count if count else math.nan


def forward(model: nn.Module, inputs: Inputs, autocast: torch.autocast | None) -> Tensor:
    """Return the scores [B] of a batch in the model's precision, or mixed if asked for."""
    parameter = next(model.parameters(), None)
    with autocast or nullcontext():
        return inputs.call(model, None if parameter is None else parameter.dtype)


def mean_of_means(error_S: np.ndarray, group_S: np.ndarray) -> float:
    """Return the unweighted mean over groups of the mean error of each; NaN errors (no label) take no part."""
    error_TN = by_date(error_S, group_S)
    known_T = np.isfinite(error_TN).sum(axis=1)
    sums_T = np.nansum(error_TN, axis=1)[known_T > 0]
    return float((sums_T / known_T[known_T > 0]).mean()) if len(sums_T) else math.nan


def mean_squared_error(score_S: np.ndarray, label_S: np.ndarray, qlib_batch: int | None) -> float:
    """Return the loss over samples that have a label; see :func:`validate` for ``qlib_batch``."""
    error_S = np.square(score_S - label_S)
    if qlib_batch is None:
        kept = error_S[~np.isnan(label_S)]
        return float(kept.mean()) if kept.size else math.nan
    whole = len(error_S) // qlib_batch
    if whole == 0:
        return math.nan
    labelled = ~np.isnan(label_S)
    means = [
        error_S[part][labelled[part]].mean()
        for part in (slice(i * qlib_batch, (i + 1) * qlib_batch) for i in range(whole))
    ]
    return float(np.mean(means))


def mean_ic(score_S: np.ndarray, label_S: np.ndarray, date_S: np.ndarray) -> tuple[float, float]:
    """Return the means over dates of daily IC and Rank IC; dates without one take no part."""
    score_TN, label_TN = (by_date(values_S, date_S) for values_S in (score_S, label_S))
    means = []
    for correlate in (correlations, rank_correlations):
        ic_T = correlate(score_TN, label_TN)
        kept = ic_T[np.isfinite(ic_T)]
        means.append(float(kept.mean()) if kept.size else math.nan)
    return means[0], means[1]


def by_date(values_S: np.ndarray, date_S: np.ndarray) -> np.ndarray:
    """Lay samples out as [T, N], one row per date that occurs, NaN behind the samples of shorter dates."""
    order = np.argsort(date_S, kind="stable")
    _, start_T, count_T = np.unique(date_S[order], return_index=True, return_counts=True)
    within_S = np.arange(len(order)) - np.repeat(start_T, count_T)
    values_TN = np.full((len(count_T), int(count_T.max(initial=0))), np.nan)
    values_TN[np.repeat(np.arange(len(count_T)), count_T), within_S] = values_S[order]
    return values_TN


def _no_samples() -> list[Tensor]:
    return [torch.empty(0, dtype=torch.float64) for _ in range(3)] + [
        torch.empty(0, dtype=torch.int32),
        torch.empty(0, dtype=torch.int32),
        torch.empty(0, dtype=torch.int64),
    ]
