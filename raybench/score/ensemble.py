"""One score out of several runs': the mean of their scores, each standardised within the date.

Scores of different runs have different scales, so each is made zero-mean and unit-variance over the
date's instruments first; a constant score counts as zero. An instrument needs a score from every run.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray


def combine(scores: Sequence[pd.Series[float]]) -> pd.Series[float]:
    """Combine scores indexed by instrument; the scores of one run stay as they are."""
    if len(scores) == 1:
        return scores[0]
    together = pd.concat([standardised(series) for series in scores], axis=1, join="inner")
    return together.mean(axis=1).astype(np.float32).sort_index()


def standardised(series: pd.Series[float]) -> pd.Series[float]:
    """Return (score - mean) / standard deviation (ddof 0) over one date."""
    values: NDArray[np.float64] = series.to_numpy(np.float64)
    spread = float(values.std())
    centred = values - values.mean()
    return pd.Series(centred / spread if spread > 0 else np.zeros_like(values), index=series.index)


def ensemble_id(run_ids: Sequence[str]) -> str:
    """Return the id of a combination: that of the run if there is one, else a hash of all, in order."""
    if len(run_ids) == 1:
        return run_ids[0]
    return hashlib.sha256("+".join(run_ids).encode()).hexdigest()[:16]
