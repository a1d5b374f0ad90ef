"""What scores say about labels: IC, Rank IC, quantile returns, autocorrelation and decay.

Shapes: T datetimes, N instruments; scores and labels are [T, N]. A NaN score is an instrument that was
not scored on that date, a NaN label one whose future price is not known; a pair with either takes no part
in a correlation. What cannot be known (a date without labels, a constant score) is NaN, and means over
dates leave it out, as Qlib's do.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from raybench.metrics.annual import Timing, standard_error

Array = NDArray[np.float64]

QUANTILES = 5
LONG_SHORT_SHARE = 0.2  # of a date's scored instruments, at each end
_BLOCK = 64  # dates at a time, so that what is in between stays in the cache


def ranks(value_TN: Array) -> Array:
    """Rank of each value within its date, 1 = lowest, ties share their mean rank [T, N].

    >>> ranks(np.array([[0.3, 0.1, 0.1, np.nan]])).tolist()
    [[3.0, 1.5, 1.5, nan]]
    """
    return pd.DataFrame(value_TN).rank(axis=1).to_numpy(np.float64)


def correlations(x_TN: Array, y_TN: Array) -> Array:
    """Pearson correlation of each date over the instruments where both sides are known -> [T].

    >>> x_TN, y_TN = np.array([[1.0, 2.0, np.nan], [1.0, 2.0, 3.0]]), np.array([[2.0, 4.0, 9.0], [5.0, 5.0, 5.0]])
    >>> correlations(x_TN, y_TN).round(6).tolist()  # of the second date nothing is known: it has one label
    [1.0, nan]
    """
    blocks = [slice(first, first + _BLOCK) for first in range(0, len(x_TN), _BLOCK)]
    return np.concatenate([np.empty(0), *(_correlations(x_TN[rows], y_TN[rows]) for rows in blocks)])


def rank_correlations(x_TN: Array, y_TN: Array) -> Array:
    """Spearman correlation of each date; ranks count only the instruments where both sides are known.

    >>> score_TN, label_TN = np.array([[0.1, 0.2, 9.0, 0.5]]), np.array([[0.0, 0.01, 0.02, np.nan]])
    >>> rank_correlations(score_TN, label_TN).round(6).tolist()
    [1.0]
    """
    known_TN = np.isfinite(x_TN) & np.isfinite(y_TN)
    return correlations(ranks(np.where(known_TN, x_TN, np.nan)), ranks(np.where(known_TN, y_TN, np.nan)))


def places(score_TN: Array) -> NDArray[np.int64]:
    """Place of each score within its date, 0 = highest, ties by instrument; the unscored come last.

    >>> places(np.array([[0.3, 0.9, np.nan, 0.3]])).tolist()
    [[1, 0, 3, 2]]
    """
    order_TN = np.argsort(-score_TN, axis=1, kind="stable")
    place_TN = np.empty_like(order_TN)
    np.put_along_axis(place_TN, order_TN, np.arange(score_TN.shape[1])[None, :], axis=1)
    return place_TN


def long_short(score_TN: Array, label_TN: Array, share: float = LONG_SHORT_SHARE) -> tuple[Array, Array]:
    """Half of (mean label of the top share minus that of the bottom share), and the mean label -> [T], [T].

    The number at each end is a share of all that are scored; those among them without a label are then left
    out of the mean, as in Qlib. Both ends take tied scores in instrument order.

    >>> score_TN, label_TN = np.array([[4.0, 3.0, 2.0, 1.0]]), np.array([[0.04, np.nan, 0.01, -0.02]])
    >>> [value_T.round(6).tolist() for value_T in long_short(score_TN, label_TN, share=0.25)]
    [[0.03], [0.01]]
    """
    scored_TN = np.isfinite(score_TN)
    size_T1 = (scored_TN.sum(axis=1) * share).astype(np.int64)[:, None]
    top_T = _mean(label_TN, scored_TN & (places(score_TN) < size_T1))
    bottom_T = _mean(label_TN, scored_TN & (places(-score_TN) < size_T1))
    return (top_T - bottom_T) / 2.0, _mean(label_TN, scored_TN)


def quantile_returns(score_TN: Array, label_TN: Array, quantiles: int = QUANTILES) -> Array:
    """Mean label of each score quantile, lowest scores first -> [T, quantiles].

    >>> quantile_returns(np.array([[1.0, 2.0, 3.0, 4.0]]), np.array([[0.0, 2.0, np.nan, 6.0]]), quantiles=2).tolist()
    [[1.0, 6.0]]
    """
    scored_TN = np.isfinite(score_TN)
    count_T1 = scored_TN.sum(axis=1)[:, None]
    from_bottom_TN = count_T1 - 1 - places(score_TN)
    bucket_TN = np.where(scored_TN, from_bottom_TN * quantiles // np.maximum(count_T1, 1), -1)
    return np.column_stack([_mean(label_TN, bucket_TN == q) for q in range(quantiles)])


def autocorrelation(score_TN: Array, lags: int = 20) -> Array:
    """Mean over dates of the correlation of ranks at t with ranks at t - lag, for lags 1, 2, ... -> [lags].

    A lag as long as the scores, or longer, is NaN. Ranks are taken within each date's own instruments.
    """
    rank_TN = ranks(score_TN)
    return np.array([_finite_mean(correlations(rank_TN[k:], rank_TN[:-k])) for k in range(1, lags + 1)])


def rank_ic_decay(score_TN: Array, label_LN: Array, first_T: NDArray[np.int64], horizons: int = 20) -> Array:
    """Mean Rank IC of scores with the label of k dates later, for k = 0, 1, ... -> [horizons + 1].

    ``label_LN`` runs over every date of the calendar; ``first_T`` says at which row of it each score date
    stands. Here ranks are taken once within each date's own instruments.
    """
    score_rank_TN, label_rank_LN = ranks(score_TN), ranks(label_LN)
    decay = np.full(horizons + 1, np.nan)
    for k in range(horizons + 1):
        inside_T = first_T + k < len(label_LN)
        decay[k] = _finite_mean(correlations(score_rank_TN[inside_T], label_rank_LN[first_T[inside_T] + k]))
    return decay


def ratio(value_T: Array) -> float:
    """Mean over sample standard deviation, not annualised; NaN with fewer than two dates.

    >>> ratio(np.array([1.0, 3.0, np.nan])) == 2.0 / 2.0**0.5, ratio(np.array([1.0]))
    (True, nan)
    """
    kept = value_T[np.isfinite(value_T)]
    deviation = kept.std(ddof=1) if kept.size > 1 else 0.0
    return float(kept.mean() / deviation) if deviation > 0 else float("nan")


def summary(
    ic_T: Array,
    rank_ic_T: Array,
    long_short_T: Array,
    long_avg_T: Array,
    timing: Timing | None = None,
    place_T: NDArray[np.int64] | None = None,
) -> dict[str, float]:
    """The figures of metrics.json under the names that Qlib gives them, and standard errors of the means.

    ``timing`` says what a year has (default: Qlib's 252 dates), ``place_T`` where each datetime stands in the
    calendar. A return over several bars is earned so much less often in a year.
    """
    timing = timing or Timing()
    year, root = timing.factor, timing.factor**0.5

    def error(value_T: Array) -> float:
        return standard_error(value_T, timing.holding, place_T)

    return {
        "IC": _finite_mean(ic_T),
        "ICIR": ratio(ic_T),
        "Rank IC": _finite_mean(rank_ic_T),
        "Rank ICIR": ratio(rank_ic_T),
        "Long-Short Ann Return": _finite_mean(long_short_T) * year,
        "Long-Short Ann Sharpe": ratio(long_short_T) * root,
        "Long-Avg Ann Return": _finite_mean(long_avg_T) * year,
        "Long-Avg Ann Sharpe": ratio(long_avg_T) * root,
        "IC standard error": error(ic_T),
        "Rank IC standard error": error(rank_ic_T),
        "Long-Short Ann Return standard error": error(long_short_T) * year,
    }


def _correlations(x_TN: Array, y_TN: Array) -> Array:
    known_TN = np.isfinite(x_TN) & np.isfinite(y_TN)
    count_T = known_TN.sum(axis=1)
    x_TN, varies_x_T = _centred(x_TN, known_TN, count_T)
    y_TN, varies_y_T = _centred(y_TN, known_TN, count_T)
    scale_T = np.sqrt(np.einsum("tn,tn->t", x_TN, x_TN) * np.einsum("tn,tn->t", y_TN, y_TN))
    result_T = np.full(len(count_T), np.nan)
    np.divide(np.einsum("tn,tn->t", x_TN, y_TN), scale_T, out=result_T, where=varies_x_T & varies_y_T)
    return result_T


def _centred(
    value_TN: Array, known_TN: NDArray[np.bool_], count_T: NDArray[np.int64]
) -> tuple[Array, NDArray[np.bool_]]:
    """Values less their date's mean (0 where not known), and whether the date has two different ones."""
    with np.errstate(invalid="ignore"):
        low_T = np.where(known_TN, value_TN, np.inf).min(axis=1, initial=np.inf)
        high_T = np.where(known_TN, value_TN, -np.inf).max(axis=1, initial=-np.inf)
    filled_TN = np.where(known_TN, value_TN, 0.0)
    mean_T = filled_TN.sum(axis=1) / np.maximum(count_T, 1)
    return np.where(known_TN, filled_TN - mean_T[:, None], 0.0), high_T > low_T


def _mean(value_TN: Array, chosen_TN: NDArray[np.bool_]) -> Array:
    """Mean of the known values among the chosen of each date -> [T]; NaN where there is none."""
    chosen_TN = chosen_TN & np.isfinite(value_TN)
    count_T = chosen_TN.sum(axis=1)
    result_T = np.full(len(count_T), np.nan)
    np.divide(np.where(chosen_TN, value_TN, 0.0).sum(axis=1), count_T, out=result_T, where=count_T > 0)
    return result_T


def _finite_mean(value_T: Array) -> float:
    kept = value_T[np.isfinite(value_T)]
    return float(kept.mean()) if kept.size else float("nan")
