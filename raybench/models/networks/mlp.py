"""MLP: the whole window as one row of numbers through fully connected layers to one score.

Shapes: N samples, W rows of lookback (1 for a row of its own), F features, K = F*W inputs, U units. Parameters
are named as in Qlib (dnn_layers.<place>.*), and inputs lie in the order of its flat rows: one feature's lags
after the other's. Running means and variances of the batch normalisation are part of the state.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise

from torch import Tensor, nn

from raybench.models.layers.batch_norm import BatchNorm
from raybench.models.layers.layout import as_flat_rows

SLOPE = 0.1  # of LeakyReLU below zero

ACTIVATIONS: Mapping[str, Callable[[], nn.Module]] = {"LeakyReLU": lambda: nn.LeakyReLU(SLOPE), "SiLU": nn.SiLU}


class MLP(nn.Module):
    """Score windows [N, W, F] or flat rows [N, F*W] -> [N].

    In training, units are normalised over this worker's part of a batch (in evaluation by running means), so
    unlike other networks the training depends a little on the number of workers.
    """

    def __init__(
        self,
        num_features: int,
        layers: Sequence[int] = (256,),
        act: str = "LeakyReLU",
        dropout: float = 0.05,
        *,
        step_len: int,
    ) -> None:
        super().__init__()
        widths = [num_features * step_len, *layers]
        hidden = [
            nn.Sequential(nn.Linear(inputs, units), BatchNorm(units), ACTIVATIONS[act]())
            for inputs, units in pairwise(widths)
        ]
        self.dnn_layers = nn.ModuleList([nn.Dropout(dropout), *hidden, nn.Dropout(dropout), nn.Linear(widths[-1], 1)])
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.kaiming_normal_(module.weight, a=SLOPE)

    def forward(self, x: Tensor) -> Tensor:
        value_NU = as_flat_rows(x)
        for layer in self.dnn_layers:
            value_NU = layer(value_NU)
        return value_NU[:, 0]
