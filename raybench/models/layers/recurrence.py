"""The part that all recurrent networks share: the layers, and from windows to hidden states.

Shapes: N samples, W rows of lookback, F features, H hidden, D directions (2 if bidirectional, else 1).

With ``chunks`` > 1, training keeps only the states between that many stretches of time and computes each
stretch again in the backward pass: less memory for more arithmetic, and the same numbers up to rounding. A
bidirectional network has no such stretches: each of its layers needs both ends of the window.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from raybench.models.layers.cells import Mode
from raybench.models.layers.regularisation import RegularisedRNN, State


def make_rnn(
    mode: Mode,
    num_features: int,
    hidden_size: int,
    num_layers: int,
    *,
    dropout: float = 0.0,
    bidirectional: bool = False,
    variational_dropout: float = 0.0,
    recurrent_dropconnect: float = 0.0,
    zoneout: float = 0.0,
    layer_norm: bool = False,
) -> nn.RNNBase:
    """Make batch-first recurrent layers: torch's own as long as they can do what is asked."""
    between = dropout if num_layers > 1 else 0.0  # torch warns of dropout between layers where there is one
    if variational_dropout or recurrent_dropconnect or zoneout or layer_norm:
        return RegularisedRNN(
            mode,
            num_features,
            hidden_size,
            num_layers,
            dropout=between,
            bidirectional=bidirectional,
            variational_dropout=variational_dropout,
            recurrent_dropconnect=recurrent_dropconnect,
            zoneout=zoneout,
            layer_norm=layer_norm,
        )
    kind = nn.GRU if mode == "GRU" else nn.LSTM
    return kind(num_features, hidden_size, num_layers, batch_first=True, dropout=between, bidirectional=bidirectional)


def last_hidden(rnn: nn.RNNBase, x_NWF: Tensor, chunks: int = 1) -> Tensor:
    """Run a batch-first recurrent network over time -> the top layer's last hidden state [N, D*H].

    Of a bidirectional network, the state of each direction where it ends: the one at the newest row, then the
    other at the oldest.

    >>> last_hidden(make_rnn("GRU", num_features=3, hidden_size=8, num_layers=1), torch.zeros(2, 5, 3)).shape
    torch.Size([2, 8])
    """
    if not _in_stretches(chunks):
        state: State = rnn(x_NWF)[1]
    else:
        state = [reached for _, reached in _checkpointed(rnn, x_NWF, chunks)][-1]
    h_LNH = state[0] if isinstance(state, tuple) else state
    return torch.cat([h_LNH[-2], h_LNH[-1]], dim=1) if rnn.bidirectional else h_LNH[-1]


def all_hidden(rnn: nn.RNNBase, x_NWF: Tensor, chunks: int = 1) -> Tensor:
    """Run a batch-first recurrent network over time -> the top layer's hidden states [N, W, D*H]."""
    if not _in_stretches(chunks):
        out_NWH: Tensor = rnn(x_NWF)[0]
        return out_NWH
    return torch.cat([part_NWH for part_NWH, _ in _checkpointed(rnn, x_NWF, chunks)], dim=1)


def _in_stretches(chunks: int) -> bool:
    return chunks > 1 and torch.is_grad_enabled()


def _checkpointed(rnn: nn.RNNBase, x_NWF: Tensor, chunks: int) -> Iterator[tuple[Tensor, State]]:
    """Give the hidden states of each stretch of time and the state that it ends in."""
    assert not rnn.bidirectional, "refused where chunks are set"
    # what is to be constant over time is drawn before time is cut
    noise = (rnn.draw(x_NWF),) if isinstance(rnn, RegularisedRNN) else ()
    lstm = rnn.mode == "LSTM"

    def advance(part_NWF: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
        carried = None if not state else state if lstm else state[0]
        out_NWH, final = rnn(part_NWF, carried, *noise)
        return (out_NWH, *final) if lstm else (out_NWH, final)

    state: tuple[Tensor, ...] = ()
    for part_NWF in x_NWF.chunk(chunks, dim=1):
        out_NWH, *found = checkpoint(advance, part_NWF, *state, use_reentrant=False)
        state = tuple(found)
        yield out_NWH, (state[0], state[1]) if lstm else state[0]
