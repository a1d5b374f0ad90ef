"""Sandwich: two encoders of KRNN's kind one on the other, the last step to one score.

Shapes: N samples, W rows of lookback, F features. Parameters are named as in Qlib (first_encoder.*,
second_encoder.*, out_fc.*).
"""

from __future__ import annotations

from torch import Tensor, nn

from raybench.models.krnn import Encoder, cut_without_turning
from raybench.models.layout import as_windows


class Sandwich(nn.Module):
    """Score windows [N, W, F] (or Alpha360's flat rows [N, F*W]) -> [N].

    Recipe "qlib" reads them as Qlib does, see ``krnn.cut_without_turning``; what the first encoder hands to the
    second is in order there too.
    """

    def __init__(
        self,
        num_features: int,
        cnn_dim_1: int = 64,
        cnn_dim_2: int = 32,
        cnn_kernel_size: int = 3,
        rnn_dim_1: int = 16,
        rnn_dim_2: int = 8,
        rnn_dups: int = 3,
        rnn_layers: int = 2,
        dropout: float = 0.0,
        *,
        recipe: str = "raybench",
    ) -> None:
        super().__init__()
        self.num_features, self.turns_back = num_features, recipe != "qlib"
        rest = (rnn_dups, rnn_layers, dropout)
        self.first_encoder = Encoder(num_features, cnn_dim_1, cnn_kernel_size, rnn_dim_1, *rest)
        self.second_encoder = Encoder(rnn_dim_1, cnn_dim_2, cnn_kernel_size, rnn_dim_2, *rest)
        self.out_fc = nn.Linear(rnn_dim_2, 1)

    def forward(self, x: Tensor) -> Tensor:
        x_NWF = as_windows(x, self.num_features)
        x_NWF = x_NWF if self.turns_back else cut_without_turning(x_NWF)
        score_N1: Tensor = self.out_fc(self.second_encoder.last(self.first_encoder(x_NWF)))
        return score_N1[:, 0]
