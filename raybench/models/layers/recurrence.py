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
from torch.nn.functional import dropout
from torch.utils.checkpoint import checkpoint

from raybench.models.fused.choice import applies, plain
from raybench.models.layers.cells import Carried, CellWeights, Mode, fused
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


def run(rnn: nn.RNNBase, x: Tensor, state: State | None = None) -> tuple[Tensor, State]:
    """Call ``rnn``, or run fused layers (``models.fused``) with its weights, where they are wanted and can do the same.

    >>> run(nn.GRU(3, 8, batch_first=True), torch.zeros(2, 5, 3))[0].shape
    torch.Size([2, 5, 8])
    """
    states = () if state is None else (state,) if isinstance(state, Tensor) else state
    if not plain(rnn) or x.dim() != 3 or not applies(x, *states, *rnn.parameters()):
        found: tuple[Tensor, State] = rnn(x) if state is None else rnn(x, state)
        return found
    out_NWH, finals = x if rnn.batch_first else x.transpose(0, 1), list[Carried]()
    mode: Mode = "GRU" if rnn.mode == "GRU" else "LSTM"
    if not states:
        zeros = x.new_zeros(rnn.num_layers * (2 if rnn.bidirectional else 1), len(out_NWH), rnn.hidden_size)
        states = (zeros,) if mode == "GRU" else (zeros, zeros)
    for layer in range(rnn.num_layers):
        if layer and rnn.training and rnn.dropout:
            out_NWH = out_NWH * _dropped(out_NWH, rnn.dropout)
        parts = []
        for end in ("", "_reverse") if rnn.bidirectional else ("",):
            names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
            weights = CellWeights(*(getattr(rnn, f"{name}_l{layer}{end}") for name in names))
            begin = tuple(value[len(finals)] for value in states)
            part_NWH, final = fused(mode, out_NWH, begin, weights, backwards=bool(end))
            parts.append(part_NWH)
            finals.append(final)
        out_NWH = parts[0] if len(parts) == 1 else torch.cat(parts, dim=2)
    h_LNH, *rest = (torch.stack(values) for values in zip(*finals, strict=True))
    return out_NWH if rnn.batch_first else out_NWH.transpose(0, 1), (h_LNH, rest[0]) if rest else h_LNH


def _dropped(like_NWH: Tensor, rate: float) -> Tensor:
    """Draw what dropout multiplies by, in the order in which torch's own layers draw it: time first."""
    samples, steps, hidden = like_NWH.shape
    return dropout(like_NWH.new_ones(steps, samples, hidden), rate).transpose(0, 1)


def last_hidden(rnn: nn.RNNBase, x_NWF: Tensor, chunks: int = 1) -> Tensor:
    """Run a batch-first recurrent network over time -> the top layer's last hidden state [N, D*H].

    Of a bidirectional network, the state of each direction where it ends: the one at the newest row, then the
    other at the oldest.

    >>> last_hidden(make_rnn("GRU", num_features=3, hidden_size=8, num_layers=1), torch.zeros(2, 5, 3)).shape
    torch.Size([2, 8])
    """
    if not _in_stretches(chunks):
        state: State = run(rnn, x_NWF)[1]
    else:
        state = [reached for _, reached in _checkpointed(rnn, x_NWF, chunks)][-1]
    h_LNH = state[0] if isinstance(state, tuple) else state
    return torch.cat([h_LNH[-2], h_LNH[-1]], dim=1) if rnn.bidirectional else h_LNH[-1]


def all_hidden(rnn: nn.RNNBase, x_NWF: Tensor, chunks: int = 1) -> Tensor:
    """Run a batch-first recurrent network over time -> the top layer's hidden states [N, W, D*H]."""
    if not _in_stretches(chunks):
        out_NWH: Tensor = run(rnn, x_NWF)[0]
        return out_NWH
    return torch.cat([part_NWH for part_NWH, _ in _checkpointed(rnn, x_NWF, chunks)], dim=1)


def _in_stretches(chunks: int) -> bool:
    return chunks > 1 and torch.is_grad_enabled()


def _checkpointed(rnn: nn.RNNBase, x_NWF: Tensor, chunks: int) -> Iterator[tuple[Tensor, State]]:
    """Give the hidden states of each stretch of time and the state that it ends in."""
    assert not rnn.bidirectional, "refused where chunks are set"
    # what is to be constant over time is drawn before time is cut
    noise = rnn.draw(x_NWF) if isinstance(rnn, RegularisedRNN) else None
    lstm = rnn.mode == "LSTM"

    def advance(part_NWF: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
        carried: State | None = None if not state else (state[0], state[1]) if lstm else state[0]
        out_NWH, final = run(rnn, part_NWF, carried) if noise is None else rnn(part_NWF, carried, noise)
        return (out_NWH, final) if isinstance(final, Tensor) else (out_NWH, *final)

    state: tuple[Tensor, ...] = ()
    for part_NWF in x_NWF.chunk(chunks, dim=1):
        out_NWH, *found = checkpoint(advance, part_NWF, *state, use_reentrant=False)
        state = tuple(found)
        yield out_NWH, (state[0], state[1]) if lstm else state[0]
