"""Linear: the score is a weighted sum of all numbers of a window; least squares or ridge regression.

Shapes: N samples, W rows of lookback, F features, K = F*W numbers per sample in the order of Qlib's flat rows,
Z = K + 1 numbers with the label. Weights and what they are fitted with hold no NaN.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn

from raybench.errors import TrainingError
from raybench.models.interface.direct import LabelledSamples
from raybench.models.layers.layout import as_flat_rows


class Linear(nn.Module):
    """Score windows [N, W, F] (or flat rows [N, F*W]) -> [N].

    ``alpha`` is the ridge penalty on the weights (not on the intercept), zero for ordinary least squares:
    they minimise sum(weight * (score - label)^2) + alpha * |weights|^2.
    """

    def __init__(
        self,
        num_features: int,
        step_len: int,
        estimator: str = "ols",
        alpha: float = 0.0,
        fit_intercept: bool = False,
    ) -> None:
        super().__init__()
        self.alpha = alpha if estimator == "ridge" else 0.0
        self.linear = nn.Linear(num_features * step_len, 1, bias=fit_intercept)

    def forward(self, x: Tensor) -> Tensor:
        score_N1: Tensor = self.linear(as_flat_rows(x))
        return score_N1[:, 0]

    @torch.no_grad()
    def fit_directly(
        self,
        train: Iterable[LabelledSamples],
        valid: Iterable[LabelledSamples],
        *,
        total: Callable[[Tensor], Tensor],
        seed: int,
    ) -> None:
        """Solve the normal equations, accumulated in float64 and added up over the group; ``valid`` is not used.

        Of the many solutions where columns are constant or depend on each other (to a relative 1e-7 or so), it
        takes the one of least norm. TrainingError if no sample has a label or a feature is not finite.
        """
        flat = ((as_flat_rows(part.x_BWF), part) for part in train)
        origin_Z, moments = _moments(flat, total, shifted=self.linear.bias is not None)
        count, sum_Z, product_ZZ = moments[0, 0], moments[0, 1:], moments[1:, 1:]
        if self.linear.bias is not None:
            product_ZZ = product_ZZ - torch.outer(sum_Z, sum_Z) / count
        weight_K = _least_norm(product_ZZ[:-1, :-1], product_ZZ[:-1, -1], self.alpha)
        self.linear.weight.copy_(weight_K.unsqueeze(0))
        if self.linear.bias is not None:
            mean_Z = origin_Z + sum_Z / count
            self.linear.bias.copy_(mean_Z[-1] - weight_K @ mean_Z[:-1])


def _moments(
    parts: Iterable[tuple[Tensor, LabelledSamples]], total: Callable[[Tensor], Tensor], *, shifted: bool
) -> tuple[Tensor, Tensor]:
    """Return an origin [Z] and the group's sum of weight * z z' [1+Z, 1+Z], where z = (1, x - origin, y - origin).

    The origin, near the mean if ``shifted`` and else zero, keeps digits: what is subtracted later is small.
    """
    origin_Z: Tensor | None = None
    sums = torch.zeros(())
    for x_BK, part in parts:
        z_BZ = torch.cat([x_BK, part.label_B.unsqueeze(1)], dim=1).double()
        weight_B = torch.ones_like(z_BZ[:, 0]) if part.weight_B is None else part.weight_B.double()
        if origin_Z is None:
            first = total(torch.cat([weight_B.sum().unsqueeze(0), weight_B @ z_BZ]))
            origin_Z = first[1:] / first[0].clamp(min=1.0) if shifted else torch.zeros_like(z_BZ[0])
        one_B1 = torch.ones_like(z_BZ[:, :1])
        z_BZ = torch.cat([one_B1, z_BZ - origin_Z], dim=1)
        sums = sums.to(z_BZ) + z_BZ.T @ (z_BZ * weight_B.unsqueeze(1))
    if origin_Z is None:
        raise TrainingError("the train segment has no sample; check data.segments.train and data.universe")
    moments = total(sums).cpu()
    if not bool(moments.isfinite().all()):
        raise TrainingError("features or labels hold NaN or inf; add ProcessInf and Fillna to data.processors.infer")
    if moments[0, 0] <= 0.0:
        raise TrainingError("no sample of the train segment has a label; check data.label and data.segments.train")
    return origin_Z.cpu(), moments


def _least_norm(gram_KK: Tensor, moment_K: Tensor, alpha: float) -> Tensor:
    """Solve (gram + alpha) w = moment; directions in which the data do not vary get nothing."""
    value_K, vector_KK = torch.linalg.eigh(gram_KK)
    varies_K = value_K > value_K[-1] * len(value_K) * torch.finfo(value_K.dtype).eps
    inverse_K = torch.where(varies_K, 1.0 / (value_K + alpha), 0.0)
    weight_K: Tensor = vector_KK @ (inverse_K * (vector_KK.T @ moment_K))
    return weight_K
