"""Permutation importance: what is lost when one feature, or one lag, is exchanged between the instruments of a date.

A feature's whole windows, or all features of one lag, are handed round within each date: every value stays one of
that date, but belongs to somebody else. Where labels exist, importance is the drop of the Rank IC (mean over the
dates); it is negative where the network would do better without. Otherwise it is the mean absolute change of the
score. The order is drawn from (seed, repeat, datetime), so it is the same for every feature and lag, and does
not depend on who computes it.

Shapes: N instruments of a datetime, T datetimes, K repeats.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from raybench.explanation.subject import CrossSection, Subject
from raybench.fanout import Fanout
from raybench.metrics.signal import rank_correlations
from raybench.progress import SILENT, Progress
from raybench.scoring.predictor import repeatable

Array = NDArray[np.float64]
RANK_IC_DROP, SCORE_CHANGE = "rank_ic_drop", "score_change"


@dataclass(frozen=True, slots=True, kw_only=True)
class ExchangedPart:
    """What is exchanged: the feature or the lag at ``index`` (lag 0 is the newest row of the window)."""

    kind: Literal["feature", "lag"]
    index: int
    name: str

    def exchanged(self, x_NWF: Tensor, order_N: Tensor) -> Tensor:
        """Give instrument n this part of the window of instrument ``order_N[n]``."""
        changed_NWF = x_NWF.clone()
        if self.kind == "feature":
            changed_NWF[:, :, self.index] = x_NWF[order_N, :, self.index]
        else:
            step = x_NWF.shape[1] - 1 - self.index
            changed_NWF[:, step] = x_NWF[order_N, step]
        return changed_NWF


@dataclass(frozen=True, slots=True, kw_only=True)
class Baseline:
    """Scores of every datetime as they are, and their Rank IC [T] (NaN where there are no labels)."""

    scores: tuple[Array, ...]
    rank_ic_T: Array

    @property
    def rank_ic(self) -> float:
        """Mean over the dates that have labels."""
        return _mean(self.rank_ic_T)


@dataclass(frozen=True, slots=True, kw_only=True)
class Importance:
    """How much parts of the window matter.

    Attributes
    ----------
    table : kind (feature or lag), name, index, measure, repeats, dates, mean and std (over the repeats) of the
        measure, score_change (mean absolute change of the score); features in their order, then lags from 0
    measure : rank_ic_drop or score_change
    rank_ic : before anything is exchanged, mean over the dates; NaN without labels
    dates : datetimes that count: with labels if the measure needs them
    """

    table: pd.DataFrame
    measure: str
    rank_ic: float
    dates: int


@dataclass(frozen=True, kw_only=True)
class Exchange:
    """Measures one part over all dates in [start, stop): what a task runs, with Ray or not."""

    subject: Subject
    start: np.datetime64
    stop: np.datetime64
    baseline: Baseline
    repeats: int
    seed: int

    def __call__(self, part: ExchangedPart) -> tuple[Array, Array]:
        """Return Rank IC drop [K] and mean absolute change of the score [K], means over the dates."""
        drop_KT = np.full((self.repeats, len(self.baseline.scores)), np.nan)
        change_KT = np.full_like(drop_KT, np.nan)
        with repeatable():
            for t, section in enumerate(self.subject.cross_sections(self.start, self.stop)):
                x_NWF = section.inputs.x_BWF
                for k in range(self.repeats):
                    order_N = torch.from_numpy(order_of(self.seed, k, section))
                    inputs = replace(section.inputs, x_BWF=part.exchanged(x_NWF, order_N))
                    score_N = self.subject.scores(inputs)
                    change_KT[k, t] = np.abs(score_N - self.baseline.scores[t]).mean()
                    drop_KT[k, t] = self.baseline.rank_ic_T[t] - _rank_ic(score_N, section.label_N)
        return np.array([_mean(row) for row in drop_KT]), np.array([_mean(row) for row in change_KT])


def order_of(seed: int, repeat: int, section: CrossSection) -> NDArray[np.int64]:
    """Draw who gets whose part [N]."""
    moment = int(section.moment.astype("datetime64[us]").astype(np.int64))
    rng = np.random.default_rng([seed, repeat, moment & 0xFFFFFFFF, moment >> 32 & 0xFFFFFFFF])
    order_N: NDArray[np.int64] = rng.permutation(len(section))
    return order_N


def measure_importance(
    subject: Subject,
    start: np.datetime64,
    stop: np.datetime64,
    *,
    repeats: int,
    seed: int,
    run: Fanout = map,
    progress: Progress = SILENT,
) -> Importance:
    """Measure every feature and every lag on the datetimes in [start, stop); ``run`` may spread the parts."""
    parts = parts_of(subject)
    baseline = score_all(subject, start, stop)
    task = Exchange(subject=subject, start=start, stop=stop, baseline=baseline, repeats=repeats, seed=seed)
    measured: list[tuple[Array, Array]] = []
    with progress.track("permutation importance", len(parts)) as advance:
        for part, result in zip(parts, run(task, parts), strict=True):
            measured.append(result)
            advance(1, text=f"{part.kind} {part.name}")
    labelled = int(np.isfinite(baseline.rank_ic_T).sum())
    measure = RANK_IC_DROP if labelled else SCORE_CHANGE
    dates = labelled or len(baseline.scores)
    return Importance(
        table=_table(parts, measured, measure, repeats, dates),
        measure=measure,
        rank_ic=baseline.rank_ic,
        dates=dates,
    )


def parts_of(subject: Subject) -> list[ExchangedPart]:
    """Every feature in its order, then every lag from the newest row back."""
    features = [ExchangedPart(kind="feature", index=i, name=name) for i, name in enumerate(subject.features)]
    return features + [ExchangedPart(kind="lag", index=lag, name=str(lag)) for lag in range(subject.step_len)]


def score_all(subject: Subject, start: np.datetime64, stop: np.datetime64) -> Baseline:
    """Score every datetime in [start, stop) as it is."""
    with repeatable():
        pairs = [(subject.scores(s.inputs), s.label_N) for s in subject.cross_sections(start, stop)]
    rank_ic_T = np.array([_rank_ic(score_N, label_N) for score_N, label_N in pairs])
    return Baseline(scores=tuple(score_N for score_N, _ in pairs), rank_ic_T=rank_ic_T)


def _table(
    parts: Sequence[ExchangedPart], measured: Sequence[tuple[Array, Array]], measure: str, repeats: int, dates: int
) -> pd.DataFrame:
    chosen = [drop_K if measure == RANK_IC_DROP else change_K for drop_K, change_K in measured]
    return pd.DataFrame(
        {
            "kind": [part.kind for part in parts],
            "name": [part.name for part in parts],
            "index": np.array([part.index for part in parts], np.int32),
            "measure": measure,
            "repeats": np.int32(repeats),
            "dates": np.int32(dates),
            "mean": [_mean(value_K) for value_K in chosen],
            "std": [float(value_K.std(ddof=1)) if repeats > 1 else math.nan for value_K in chosen],
            "score_change": [_mean(change_K) for _, change_K in measured],
        }
    )


def _rank_ic(score_N: Array, label_N: Array) -> float:
    return float(rank_correlations(score_N[None], label_N[None])[0])


def _mean(value_T: Array) -> float:
    known = value_T[np.isfinite(value_T)]
    return float(known.mean()) if len(known) else math.nan
