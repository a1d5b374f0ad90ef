"""Do two series of daily Rank IC differ by more than chance: a paired test on the dates that both have.

The differences of a date are resampled in blocks of random length (stationary bootstrap, Politis and Romano 1994), so
that neighbouring dates stay together: labels that are held for several bars overlap. The mean length is the one that
Politis and White (2004, corrected by Patton, Politis and White 2009) estimate, and no less than the label's horizon.
Several p-values are corrected by Holm (1979). NaN rule: a date on which either side is NaN takes no part.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from raybench.reports.html import Table, number

REPEATS = 2000
FEWEST = 20
"""Common dates below which no block length can be estimated and nothing is tested."""

LEVEL = 0.95


@dataclass(frozen=True, slots=True, kw_only=True)
class PairedTest:
    """One series against another.

    name, against : the two. dates : on which both are known. difference : mean of ``name`` less ``against``
    low, high : its 95 % confidence interval. p_value : two-sided, of no difference; p_holm : corrected for the number
    of tests. block : mean length of the blocks. What is not known is NaN: with too few dates, all but the mean.
    """

    name: str
    against: str
    dates: int
    difference: float
    low: float = math.nan
    high: float = math.nan
    p_value: float = math.nan
    p_holm: float = math.nan
    block: float = math.nan


def paired(
    series: pd.Series[float],
    against: pd.Series[float],
    *,
    names: tuple[str, str],
    horizon: int = 1,
    repeats: int = REPEATS,
    seed: int = 0,
) -> PairedTest:
    """Test two series by datetime on their common dates; ``horizon``: bars that a label is held for."""
    both = pd.concat([series, against], axis=1, join="inner").dropna().sort_index()
    difference_T = (both.iloc[:, 0] - both.iloc[:, 1]).to_numpy(np.float64)
    mean = float(difference_T.mean()) if difference_T.size else math.nan
    plain = PairedTest(name=names[0], against=names[1], dates=len(both), difference=mean)
    if difference_T.size < FEWEST or np.ptp(difference_T) == 0.0:  # of what never varies nothing is to be drawn
        return plain
    block = block_length(difference_T, horizon)
    chance_R = _means(difference_T, block, repeats, seed) - mean
    tail = (1.0 - LEVEL) / 2.0
    below, above = np.quantile(chance_R, [tail, 1.0 - tail])
    as_far = int((np.abs(chance_R) >= abs(mean)).sum())
    return PairedTest(
        name=names[0],
        against=names[1],
        dates=len(both),
        difference=mean,
        low=mean - float(above),
        high=mean - float(below),
        p_value=(as_far + 1) / (repeats + 1),
        p_holm=(as_far + 1) / (repeats + 1),
        block=block,
    )


def block_length(difference_T: NDArray[np.float64], horizon: int) -> float:
    """Mean length of blocks: the estimate, at least ``horizon`` and at most half of the dates."""
    from arch.bootstrap import optimal_block_length

    estimate = float(optimal_block_length(difference_T)["stationary"].iloc[0])
    known = estimate if math.isfinite(estimate) else 1.0
    return float(min(max(known, horizon, 1.0), len(difference_T) / 2))


def _means(difference_T: NDArray[np.float64], block: float, repeats: int, seed: int) -> NDArray[np.float64]:
    """Means of resampled series [R]."""
    from arch.bootstrap import StationaryBootstrap

    drawn = StationaryBootstrap(math.ceil(block), difference_T, seed=seed)
    return np.asarray(drawn.apply(lambda x_T: np.atleast_1d(x_T.mean()), repeats), dtype=np.float64)[:, 0]


def against_best(means: pd.DataFrame, *, horizon: int = 1, repeats: int = REPEATS, seed: int = 0) -> list[PairedTest]:
    """Test each column against the one with the highest mean on the dates that all have, p-values corrected by Holm.

    ``means`` : daily Rank IC by datetime and name. A column without any value takes no part.
    """
    known = means.loc[:, means.notna().any()]
    common = known.dropna()
    if known.shape[1] < 2 or common.empty:
        return []
    best = str(common.mean().idxmax())
    options = {"horizon": horizon, "repeats": repeats, "seed": seed}
    tests = [
        paired(common[name], common[best], names=(str(name), best), **options) for name in common if str(name) != best
    ]
    corrected = holm([test.p_value for test in tests])
    return [_corrected(test, p) for test, p in zip(tests, corrected, strict=True)]


def _corrected(test: PairedTest, p_holm: float) -> PairedTest:
    return replace(test, p_holm=p_holm)


def holm(p_values: Sequence[float]) -> list[float]:
    """Correct p-values for their number; NaN stays and does not count.

    >>> [round(p, 3) for p in holm([0.01, 0.04, 0.03])]
    [0.03, 0.06, 0.06]
    """
    known = sorted((p, k) for k, p in enumerate(p_values) if math.isfinite(p))
    corrected, highest = list(p_values), 0.0
    for place, (p, k) in enumerate(known):
        highest = max(highest, min(1.0, p * (len(known) - place)))
        corrected[k] = highest
    return corrected


def paired_table(tests: Sequence[PairedTest]) -> Table:
    """The tests as the page shows them."""
    best, dates = tests[0].against, tests[0].dates
    return Table(
        name=f"Against the best: {best}",
        means=f"Daily Rank IC, mean over seeds, on the {dates:,} test dates that all have: mean difference to {best}, "
        "its 95 % interval and p-value by a stationary block bootstrap; Holm: corrected for the number of tests. The "
        "best was chosen on these dates, which flatters it.",
        columns=["configuration", "difference", "from", "to", "p", "p (Holm)", "block"],
        rows=[[test.name, *_cells(test)] for test in tests],
    )


def _cells(test: PairedTest) -> list[str]:
    figures = (test.difference, test.low, test.high, test.p_value, test.p_holm)
    return [*(number(figure, 4) for figure in figures), number(test.block, 1)]
