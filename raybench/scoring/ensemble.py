"""One score out of several runs', in one of two ways.

``scores``: the mean of their scores, each standardised within the datetime. Scores of different runs have different
scales, so each is made zero-mean and unit-variance over the datetime's instruments first; a constant score counts as
zero. ``ranks``: the mean of their ranks within the datetime, in (0, 1]: an outlier of one run has no more say than a
first place. An instrument needs a score from every run.

NaN rule: a run's score that is NaN is NaN in what is combined, and refused when the date is written.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from raybench.errors import DataError
from raybench.scoring.predictor import MomentScores

Way = Literal["scores", "ranks"]
WAYS: tuple[Way, ...] = ("scores", "ranks")


def parse_way(text: str) -> Way:
    """Read a way of combining; DataError for one that there is not."""
    found = next((way for way in WAYS if way == text), None)
    if found is None:
        raise DataError(f"--combine is {text!r}; want {' or '.join(WAYS)}")
    return found


def combine(scores: Sequence[MomentScores], way: Way = "scores") -> MomentScores:
    """Combine what several runs say of one datetime; the scores of one run stay as they are."""
    if len(scores) == 1:
        return scores[0]
    shared_N = functools.reduce(np.intersect1d, [each.instrument_N for each in scores])
    places = [np.searchsorted(each.instrument_N, shared_N) for each in scores]
    if way == "ranks":
        parts = [ranked(each.score_N[at_N]) for each, at_N in zip(scores, places, strict=True)]
    else:
        parts = [standardised(each.score_N)[at_N] for each, at_N in zip(scores, places, strict=True)]
    mean_N: NDArray[np.float64] = np.stack(parts).mean(axis=0)
    return replace(scores[0], instrument_N=shared_N, score_N=mean_N.astype(np.float32))


def standardised(score_N: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return (score - mean) / standard deviation (ddof 0) over one datetime."""
    values: NDArray[np.float64] = score_N.astype(np.float64)
    spread = float(values.std())
    centred: NDArray[np.float64] = values - values.mean()
    return centred / spread if spread > 0 else np.zeros_like(values)


def ranked(score_N: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return rank / N over one datetime, 1/N for the lowest and 1 for the highest; equal scores share their mean rank.

    >>> ranked(np.array([0.3, 0.1, 0.3, 0.9], np.float32)).tolist()
    [0.625, 0.25, 0.625, 1.0]
    """
    _, group_N, count_G = np.unique(score_N, return_inverse=True, return_counts=True)
    last_G = np.cumsum(count_G)
    rank_G: NDArray[np.float64] = (last_G - (count_G - 1) / 2) / max(len(score_N), 1)
    rank_N: NDArray[np.float64] = np.where(np.isnan(score_N), np.nan, rank_G[group_N])
    return rank_N


def ensemble_id(run_ids: Sequence[str], way: Way = "scores") -> str:
    """Return the id of a combination: that of the run if there is one, else a hash of all, in order, and of the way."""
    if len(run_ids) == 1:
        return run_ids[0]
    said = "+".join(run_ids) + ("" if way == "scores" else f"+{way}")
    return hashlib.sha256(said.encode()).hexdigest()[:16]
