"""The part that all recurrent networks share: from windows to the last hidden state.

Shapes: N samples, W rows of lookback, F features, H hidden.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

State = Tensor | tuple[Tensor, Tensor]


def last_hidden(rnn: nn.GRU | nn.LSTM, x_NWF: Tensor, chunks: int = 1) -> Tensor:
    """Run a batch-first recurrent network over time -> the top layer's last hidden state [N, H].

    With ``chunks`` > 1, training keeps only the states between that many stretches of time and
    computes each stretch again in the backward pass: less memory for more arithmetic, and the same
    numbers up to rounding.
    """
    if chunks <= 1 or not torch.is_grad_enabled():
        state: State = rnn(x_NWF)[1]
    else:
        state = _checkpointed(rnn, x_NWF, chunks)
    h_LNH = state[0] if isinstance(state, tuple) else state
    return h_LNH[-1]


def _checkpointed(rnn: nn.GRU | nn.LSTM, x_NWF: Tensor, chunks: int) -> State:
    def advance(part_NWF: Tensor, *state: Tensor) -> State:
        carried = None if not state else state if isinstance(rnn, nn.LSTM) else state[0]
        final: State = rnn(part_NWF, carried)[1]
        return final

    state: tuple[Tensor, ...] = ()
    for part_NWF in x_NWF.chunk(chunks, dim=1):
        final: State = checkpoint(advance, part_NWF, *state, use_reentrant=False)
        state = final if isinstance(final, tuple) else (final,)
    return (state[0], state[1]) if isinstance(rnn, nn.LSTM) else state[0]
