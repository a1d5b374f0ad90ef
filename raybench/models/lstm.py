"""LSTM: stacked recurrent layers over the window, the last hidden state to one score.

Shapes: N samples, W rows of lookback, F features. Parameters are named as in Qlib (rnn.*, fc_out.*).
"""

from __future__ import annotations

from torch import Tensor, nn

from raybench.models.layout import as_windows
from raybench.models.recurrence import last_hidden


class LSTM(nn.Module):
    """Score windows [N, W, F] (or Alpha360's flat rows [N, F*W]) -> [N].

    ``checkpoint_chunks`` > 1 trades memory for arithmetic in training, see ``last_hidden``.
    """

    def __init__(self, num_features: int, hidden_size: int = 64, num_layers: int = 2, dropout: float = 0.0) -> None:
        super().__init__()
        self.rnn = nn.LSTM(num_features, hidden_size, num_layers, batch_first=True, dropout=dropout)
        self.fc_out = nn.Linear(hidden_size, 1)
        self.checkpoint_chunks = 1

    def forward(self, x: Tensor) -> Tensor:
        x_NWF = as_windows(x, self.rnn.input_size)
        score_N1: Tensor = self.fc_out(last_hidden(self.rnn, x_NWF, self.checkpoint_chunks))
        return score_N1[:, 0]
