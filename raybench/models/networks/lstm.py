"""LSTM: stacked recurrent layers over the window, the last hidden state to one score (Hochreiter, Schmidhuber 1997).

Shapes: N samples, W rows of lookback, F features. Parameters are named as in Qlib (rnn.*, fc_out.*).
"""

from __future__ import annotations

from typing import ClassVar

from raybench.models.layers.cells import Mode
from raybench.models.layers.recurrent import RecurrentNetwork


class LSTM(RecurrentNetwork):
    """Score windows [N, W, F] (or Alpha360's flat rows [N, F*W]) -> [N]; options: ``RecurrentNetwork``."""

    mode: ClassVar[Mode] = "LSTM"
