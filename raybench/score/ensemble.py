"""One score out of several runs': the mean of their scores, each standardised within the datetime.

Scores of different runs have different scales, so each is made zero-mean and unit-variance over the
datetime's instruments first; a constant score counts as zero. An instrument needs a score from every run.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from raybench.score.predictor import MomentScores


def combine(scores: Sequence[MomentScores]) -> MomentScores:
    """Combine what several runs say of one datetime; the scores of one run stay as they are."""
    if len(scores) == 1:
        return scores[0]
    shared_N = functools.reduce(np.intersect1d, [each.instrument_N for each in scores])
    parts = [standardised(each.score_N)[np.searchsorted(each.instrument_N, shared_N)] for each in scores]
    mean_N: NDArray[np.float64] = np.stack(parts).mean(axis=0)
    return replace(scores[0], instrument_N=shared_N, score_N=mean_N.astype(np.float32))


def standardised(score_N: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return (score - mean) / standard deviation (ddof 0) over one datetime."""
    values: NDArray[np.float64] = score_N.astype(np.float64)
    spread = float(values.std())
    centred: NDArray[np.float64] = values - values.mean()
    return centred / spread if spread > 0 else np.zeros_like(values)


def ensemble_id(run_ids: Sequence[str]) -> str:
    """Return the id of a combination: that of the run if there is one, else a hash of all, in order."""
    if len(run_ids) == 1:
        return run_ids[0]
    return hashlib.sha256("+".join(run_ids).encode()).hexdigest()[:16]
