"""What Qlib publishes of the networks that raybench has too, and which configurations those figures are of.

Source: microsoft/qlib, ``examples/benchmarks/README.md``, "Results on CSI300", means and standard deviations over 20
runs with different seeds, of the networks in raybench, as the page stood in the main branch of 2026-04-22 (d5379c52).
Means have four digits there and standard deviations two: 0.00 is anything below :data:`ROUNDED`. Test segment, universe
and label are those of :func:`differing_settings`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from raybench.config import Config
from raybench.config.data.alpha_names import BENCHMARK_20
from raybench.config.data.label import DEFAULT_LABEL

SOURCE = "microsoft/qlib, examples/benchmarks/README.md, Results on CSI300: mean and standard deviation of 20 runs"
SEEDS = 20
ROUNDED = 0.005
"""How far a published standard deviation may lie above what is printed."""

UNIVERSE = "csi300"
SEGMENTS = {
    "train": ("2008-01-01", "2014-12-31"),
    "valid": ("2015-01-01", "2016-12-31"),
    "test": ("2017-01-01", "2020-08-01"),
}
SELECTED = "alpha158, 20 columns"
"""The benchmark's selection of Alpha158, which all of its networks over windows are given, whatever the page says."""

WRONG: Mapping[tuple[str, str], str] = {
    ("krnn", "alpha360"): "published row is of six lags of one field in place of six fields (wrong axes)",
    ("sandwich", "alpha360"): "published row is of six lags of one field in place of six fields (wrong axes)",
    ("tcn", SELECTED): "published row is of axes exchanged when scores are made",
    ("gats", SELECTED): "published row is of batches that are no dates",
}
"""Rows that are known to be wrong, and why: docs/differences-from-qlib.md."""


@dataclass(frozen=True, slots=True)
class Figure:
    """Mean and standard deviation (ddof 1) of a metric over ``seeds`` fits; the deviation of one is NaN."""

    mean: float
    std: float
    seeds: int


# model, features: IC, its deviation, ICIR, its deviation, Rank IC, its deviation, Rank ICIR, its deviation
_TABLE = """
tcn         selected  0.0279 0.00  0.2181 0.01  0.0421 0.00  0.3429 0.01
tabnet      alpha158  0.0204 0.01  0.1554 0.07  0.0333 0.00  0.2552 0.05
transformer selected  0.0264 0.00  0.2053 0.02  0.0407 0.00  0.3273 0.02
gru         selected  0.0315 0.00  0.2450 0.04  0.0428 0.00  0.3440 0.03
lstm        selected  0.0318 0.00  0.2367 0.04  0.0435 0.00  0.3389 0.03
localformer selected  0.0356 0.00  0.2756 0.03  0.0468 0.00  0.3784 0.03
alstm       selected  0.0362 0.01  0.2789 0.06  0.0463 0.01  0.3661 0.05
gats        selected  0.0349 0.00  0.2511 0.01  0.0462 0.00  0.3564 0.01
tra         selected  0.0404 0.00  0.3197 0.05  0.0490 0.00  0.4047 0.04
tra         alpha158  0.0440 0.00  0.3535 0.05  0.0540 0.00  0.4451 0.03
linear      alpha158  0.0397 0.00  0.3000 0.00  0.0472 0.00  0.3531 0.00
mlp         alpha158  0.0376 0.00  0.2846 0.02  0.0429 0.00  0.3220 0.01
lightgbm    alpha158  0.0448 0.00  0.3660 0.00  0.0469 0.00  0.3877 0.00
transformer alpha360  0.0114 0.00  0.0716 0.03  0.0327 0.00  0.2248 0.02
tabnet      alpha360  0.0099 0.00  0.0593 0.00  0.0290 0.00  0.1887 0.00
mlp         alpha360  0.0273 0.00  0.1870 0.02  0.0396 0.00  0.2910 0.02
localformer alpha360  0.0404 0.00  0.2932 0.04  0.0542 0.00  0.4110 0.03
lightgbm    alpha360  0.0400 0.00  0.3037 0.00  0.0499 0.00  0.4042 0.00
tcn         alpha360  0.0441 0.00  0.3301 0.02  0.0519 0.00  0.4130 0.01
alstm       alpha360  0.0497 0.00  0.3829 0.04  0.0599 0.00  0.4736 0.03
lstm        alpha360  0.0448 0.00  0.3474 0.04  0.0549 0.00  0.4366 0.03
gru         alpha360  0.0493 0.00  0.3772 0.04  0.0584 0.00  0.4638 0.03
gats        alpha360  0.0476 0.00  0.3508 0.02  0.0598 0.00  0.4604 0.01
tra         alpha360  0.0485 0.00  0.3787 0.03  0.0587 0.00  0.4756 0.03
hist        alpha360  0.0522 0.00  0.3530 0.01  0.0667 0.00  0.4576 0.01
krnn        alpha360  0.0173 0.01  0.1210 0.06  0.0270 0.01  0.2018 0.04
sandwich    alpha360  0.0258 0.00  0.1924 0.04  0.0337 0.00  0.2624 0.03
"""
METRICS = ("IC", "ICIR", "Rank IC", "Rank ICIR")


def _read(table: str) -> Mapping[tuple[str, str], Mapping[str, Figure]]:
    rows = {}
    for line in filter(None, table.splitlines()):
        model, features, *figures = line.split()
        numbers = list(map(float, figures))
        found = {name: Figure(numbers[2 * k], numbers[2 * k + 1], SEEDS) for k, name in enumerate(METRICS)}
        rows[model, SELECTED if features == "selected" else features] = found
    return rows


PUBLISHED = _read(_TABLE)
"""Figures by metric, by network and feature set: ``alpha360``, ``alpha158`` (all columns) or ``SELECTED``."""


def features_of(config: Config) -> str | None:
    """Which of the published feature sets a configuration has; None for any other."""
    features = config.data.feature_set
    columns = getattr(features, "columns", None)
    if features.type == "alpha158" and columns is not None:
        return SELECTED if set(columns) == set(BENCHMARK_20) else None
    return features.type if features.type in ("alpha158", "alpha360") and config.data.second is None else None


def published(config: Config) -> Mapping[str, Figure] | None:
    """The published figures of a configuration's network on its feature set, None where there are none."""
    features = features_of(config)
    return None if features is None else PUBLISHED.get((config.model.type, features))


def known_wrong(config: Config) -> str | None:
    """Why the published row of a configuration's network is no target, None where it is one."""
    return WRONG.get((config.model.type, features_of(config) or ""))


def differing_settings(config: Config) -> list[str]:
    """Name what a configuration has otherwise than the published figures: universe, label, segments."""
    data = config.data
    spans = {name: tuple(map(str, span)) for name, span in data.segments.items()}
    found = [f"{name} {spans[name][0]} to {spans[name][1]}" for name in SEGMENTS if spans[name] != SEGMENTS[name]]
    found = ["other segments"] if len(found) > 1 else found
    if data.universe != UNIVERSE:
        found.insert(0, f"universe {data.universe}")
    if "".join(data.label.split()) != "".join(DEFAULT_LABEL.split()):
        found.append(f"label {data.label}")
    return found


def joint_error(ours: Figure, theirs: Figure) -> float:
    """Standard error of the difference of two means, sqrt(s1^2 / n1 + s2^2 / n2); NaN if one deviation is."""
    return math.sqrt(ours.std**2 / ours.seeds + theirs.std**2 / theirs.seeds)
