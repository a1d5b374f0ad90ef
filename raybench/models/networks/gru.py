"""GRU: stacked recurrent layers over the window, the last hidden state to one score (Cho et al. 2014).

Shapes: N samples, W rows of lookback, F features. Parameters are named as in Qlib (rnn.*, fc_out.*).
"""

from __future__ import annotations

from typing import ClassVar

from raybench.models.layers.cells import Mode
from raybench.models.layers.recurrent import RecurrentNetwork


class GRU(RecurrentNetwork):
    """Score windows [N, W, F] (or Alpha360's flat rows [N, F*W]) -> [N]; options: ``RecurrentNetwork``."""

    mode: ClassVar[Mode] = "GRU"
