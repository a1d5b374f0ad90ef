"""Persistence: the score is the return just past (or its negative). Nothing is learnt.

The return is read from a feature that is a past close over today's: Alpha360's CLOSEd (d days back) or
Alpha158's ROCd = Ref($close, d) / $close, so return = 1 / feature - 1. The features must be as they are made,
not normalised. A feature that is missing (NaN, or filled with zero) means no return: score 0.

Shapes: N samples, W rows of lookback, F features.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn

from raybench.config.data.alpha_names import ALPHA360_FIELDS
from raybench.config.networks.baselines import past_price
from raybench.errors import ConfigError
from raybench.models.interface.direct import LabelledSamples
from raybench.models.layers.layout import as_windows


class Persistence(nn.Module):
    """Score windows [N, W, F] (or Alpha360's flat rows [N, F*W]) -> [N]; ``columns`` names the F features.

    ``sign``: 1 for momentum, -1 for reversal.
    """

    def __init__(
        self, num_features: int, step_len: int, columns: tuple[str, ...], column: str | None = None, sign: int = 1
    ) -> None:
        super().__init__()
        self.num_features, self.sign = num_features, sign
        self._lag, self._feature = _place(columns, column, step_len)

    def forward(self, x: Tensor) -> Tensor:
        x_NWF = as_windows(x, self.num_features)
        ratio_N = x_NWF[:, x_NWF.shape[1] - 1 - self._lag, self._feature]
        # comparisons with NaN are false; the inverse of anything smaller is infinite
        known_N = ratio_N.where(ratio_N > torch.finfo(ratio_N.dtype).tiny, 1.0)
        return self.sign * (1.0 / known_N - 1.0)

    def fit_directly(
        self,
        train: Iterable[LabelledSamples],
        valid: Iterable[LabelledSamples],
        *,
        total: Callable[[Tensor], Tensor],
        seed: int,
    ) -> None:
        """Learn nothing, whatever the samples are."""


def _place(columns: tuple[str, ...], column: str | None, step_len: int) -> tuple[int, int]:
    """Return how many rows before the last, and where in a row, a window holds the past price.

    Windows of Alpha360 have a field in a row and its lags over time: CLOSEd is the first field, d rows back.
    """
    lagged = columns == ALPHA360_FIELDS
    names = tuple(f"CLOSE{lag}" for lag in range(1, step_len)) if lagged else columns
    found = past_price(names, column)
    if found is None:
        raise ConfigError(f"model.column: {column or 'ROC5'}, which persistence reads, is not among the features")
    return (names.index(found) + 1, 0) if lagged else (0, names.index(found))
