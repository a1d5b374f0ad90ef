"""The validation pass: scores of the whole segment, gathered from all workers, and what they are worth."""

from __future__ import annotations

import math
from contextlib import nullcontext
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from raybench.evaluate.signal import correlations, rank_correlations
from raybench.train.batches import EvaluationFeed
from raybench.train.world import World


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
    qlib_batch: int | None,
) -> Validation:
    """Score every sample of ``feed`` in evaluation mode and summarise over the whole group.

    ``qlib_batch``: average the loss as Qlib does, the unweighted mean over batches of that size with the
    incomplete last one dropped; None averages over all samples.
    """
    model.eval()
    parts: list[tuple[Tensor, ...]] = []
    for x_BWF, rows in feed.batches():
        score_B = forward(model, x_BWF, autocast).double().cpu()
        parts.append((score_B, rows.label_B.double(), rows.raw_label_B.double(), rows.date_B, rows.position_B))
    columns = [torch.cat(column) for column in zip(*parts, strict=True)] if parts else _no_samples()
    score_S, label_S, raw_S, date_S, position_S = (world.gather(column).numpy() for column in columns)
    order = np.argsort(position_S, kind="stable")
    score_S, label_S, raw_S, date_S = score_S[order], label_S[order], raw_S[order], date_S[order]
    ic, rank_ic = mean_ic(score_S, raw_S, date_S)
    return Validation(loss=mean_squared_error(score_S, label_S, qlib_batch), ic=ic, rank_ic=rank_ic)


def forward(model: nn.Module, x_BWF: Tensor, autocast: torch.autocast | None) -> Tensor:
    """Return the scores [B] of a batch of windows in the model's precision, or mixed if asked for."""
    x_BWF = x_BWF.to(next(model.parameters()).dtype)
    with autocast or nullcontext():
        score_B: Tensor = model(x_BWF)
    return score_B


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
        torch.empty(0, dtype=torch.int64),
    ]
