"""Gates of recurrent layers: their cells written out once more, since torch's fused kernels do not give gates out.

What the gates are, and how a state follows from them, ``models/layers/cells.py`` says.

Shapes: N samples, W steps (oldest first), F features, K width of a layer's input, H hidden.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from raybench.models.layers.cells import Carried, CellWeights, Gates, Mode, written_out
from raybench.models.layers.regularisation import RegularisedRNN


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerGates:
    """One layer, in one direction of time: its gates and its states, each [N, W, H]."""

    layer: int
    reverse: bool
    gates: Mapping[str, Tensor]
    hidden_NWH: Tensor

    @property
    def name(self) -> str:
        """``l0``, ``l1`` and so on, from the input up."""
        return f"l{self.layer}" + (".reverse" if self.reverse else "")


def has_gates(rnn: nn.RNNBase) -> bool:
    """Say whether ``rnn`` is made of cells that can be written out: GRU or LSTM, not with projections."""
    return rnn.mode in ("GRU", "LSTM") and not rnn.proj_size


@torch.no_grad()
def gates_of(rnn: nn.RNNBase, x_NWF: Tensor) -> Iterator[LayerGates]:
    """Go through the layers of ``rnn``, in evaluation mode, from a state of zeros, as without initial state."""
    directions = (False, True) if rnn.bidirectional else (False,)
    x_NWK = x_NWF
    for layer in range(rnn.num_layers):
        states = []
        for reverse in directions:
            suffix = f"l{layer}" + ("_reverse" if reverse else "")
            gates, h_NWH = _watched(rnn, suffix, x_NWK.flip(1) if reverse else x_NWK)
            if reverse:
                gates, h_NWH = {name: gate.flip(1) for name, gate in gates.items()}, h_NWH.flip(1)
            states.append(h_NWH)
            yield LayerGates(layer=layer, reverse=reverse, gates=gates, hidden_NWH=h_NWH)
        x_NWK = torch.cat(states, dim=2)


def _watched(rnn: nn.RNNBase, suffix: str, x_NWK: Tensor) -> tuple[dict[str, Tensor], Tensor]:
    """Run one layer in one direction -> its gates by name, and its states, each [N, W, H]."""
    mode: Mode = "GRU" if rnn.mode == "GRU" else "LSTM"
    zero_NH = x_NWK.new_zeros(len(x_NWK), rnn.hidden_size)
    start: Carried = (zero_NH,) if mode == "GRU" else (zero_NH, zero_NH)
    weights, history = _weights(rnn, suffix), list[Gates]()
    if isinstance(rnn, RegularisedRNN):
        norm, mix = rnn.norm(suffix), rnn.mix
        h_NWH, _ = written_out(mode, x_NWK, start, weights, norm, mix, watch=history.append)
    else:
        h_NWH, _ = written_out(mode, x_NWK, start, weights, watch=history.append)
    return {name: torch.stack([gates[name] for gates in history], dim=1) for name in history[0]}, h_NWH


def _weights(rnn: nn.RNNBase, suffix: str) -> CellWeights:
    """Give the weights of one layer and direction; biases are zero where the module has none."""
    input_GK, hidden_GH = (getattr(rnn, f"weight_{side}_{suffix}") for side in ("ih", "hh"))
    none_G = input_GK.new_zeros(len(input_GK))
    input_G, hidden_G = (getattr(rnn, f"bias_{side}_{suffix}") if rnn.bias else none_G for side in ("ih", "hh"))
    return CellWeights(input_GK, hidden_GH, input_G, hidden_G)
