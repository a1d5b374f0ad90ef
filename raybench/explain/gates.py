"""Gates of recurrent layers, computed from their weights, since torch's fused kernels do not give them out.

GRU (Cho et al. 2014, in torch's form), with state h and input x of a step:

    reset   r  = sigmoid(W_ir x + b_ir + W_hr h + b_hr)
    update  z  = sigmoid(W_iz x + b_iz + W_hz h + b_hz)
    new     n  = tanh(W_in x + b_in + r (W_hn h + b_hn))
            h' = (1 - z) n + z h

so an update gate near 1 keeps the state. LSTM (Hochreiter and Schmidhuber 1997, with forget gate):

    input   i  = sigmoid(W_ii x + b_ii + W_hi h + b_hi)
    forget  f  = sigmoid(W_if x + b_if + W_hf h + b_hf)
    cell    g  = tanh(W_ig x + b_ig + W_hg h + b_hg)
    output  o  = sigmoid(W_io x + b_io + W_ho h + b_ho)
            c' = f c + i g,  h' = o tanh(c')

With zoneout (a layer's attribute of that name) each state becomes its mean with the one before, as in evaluation.

Shapes: N samples, W steps (oldest first), F inputs, H hidden.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

SIGNED = ("new", "cell")  # between -1 and 1; all others lie between 0 and 1


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
    """Say whether the equations above are those of ``rnn``: not with layer norm inside the cell, or projections."""
    return rnn.mode in ("GRU", "LSTM") and not getattr(rnn, "layer_norm", False) and not rnn.proj_size


@torch.no_grad()
def gates_of(rnn: nn.RNNBase, x_NWF: Tensor) -> Iterator[LayerGates]:
    """Go through the layers of ``rnn`` from a state of zeros, as for a call without initial state."""
    run = _gru if rnn.mode == "GRU" else _lstm
    directions = (False, True) if rnn.bidirectional else (False,)
    for layer in range(rnn.num_layers):
        states = []
        for reverse in directions:
            weights = _weights(rnn, f"_l{layer}" + ("_reverse" if reverse else ""))
            gates, h_NWH = run(x_NWF.flip(1) if reverse else x_NWF, weights)
            if reverse:
                gates, h_NWH = {name: gate.flip(1) for name, gate in gates.items()}, h_NWH.flip(1)
            states.append(h_NWH)
            yield LayerGates(layer=layer, reverse=reverse, gates=gates, hidden_NWH=h_NWH)
        x_NWF = torch.cat(states, dim=2)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Weights:
    """Of one layer and direction; biases are zero where the module has none."""

    input_GF: Tensor
    hidden_GH: Tensor
    input_G: Tensor
    hidden_G: Tensor
    zoneout: float

    @property
    def width(self) -> int:
        return self.hidden_GH.shape[1]

    def of_input(self, x_NWF: Tensor) -> Tensor:
        """What the input contributes to every gate, for all steps at once [N, W, G]."""
        return x_NWF @ self.input_GF.T + self.input_G

    def of_state(self, h_NH: Tensor) -> Tensor:
        """What the state contributes to every gate [N, G]."""
        return h_NH @ self.hidden_GH.T + self.hidden_G


def _weights(rnn: nn.RNNBase, suffix: str) -> _Weights:
    input_GF, hidden_GH = (getattr(rnn, f"weight_{side}{suffix}") for side in ("ih", "hh"))
    none = input_GF.new_zeros(len(input_GF))
    input_G, hidden_G = (getattr(rnn, f"bias_{side}{suffix}") if rnn.bias else none for side in ("ih", "hh"))
    return _Weights(
        input_GF=input_GF,
        hidden_GH=hidden_GH,
        input_G=input_G,
        hidden_G=hidden_G,
        zoneout=float(getattr(rnn, "zoneout", 0.0)),
    )


def _gru(x_NWF: Tensor, weights: _Weights) -> tuple[dict[str, Tensor], Tensor]:
    def step(part_NG: Tensor, state: tuple[Tensor, ...]) -> tuple[dict[str, Tensor], tuple[Tensor, ...]]:
        (h_NH,) = state
        of_input, of_state = part_NG.chunk(3, dim=1), weights.of_state(h_NH).chunk(3, dim=1)
        reset, update = (torch.sigmoid(of_input[k] + of_state[k]) for k in (0, 1))
        new = torch.tanh(of_input[2] + reset * of_state[2])
        return {"reset": reset, "update": update, "new": new}, ((1.0 - update) * new + update * h_NH,)

    return _over_time(step, x_NWF, weights, states=1)


def _lstm(x_NWF: Tensor, weights: _Weights) -> tuple[dict[str, Tensor], Tensor]:
    def step(part_NG: Tensor, state: tuple[Tensor, ...]) -> tuple[dict[str, Tensor], tuple[Tensor, ...]]:
        h_NH, c_NH = state
        input_, forget, cell, output = (part_NG + weights.of_state(h_NH)).chunk(4, dim=1)
        gates = {"input": torch.sigmoid(input_), "forget": torch.sigmoid(forget)}
        gates |= {"cell": torch.tanh(cell), "output": torch.sigmoid(output)}
        c_NH = gates["forget"] * c_NH + gates["input"] * gates["cell"]
        return gates, (gates["output"] * torch.tanh(c_NH), c_NH)

    return _over_time(step, x_NWF, weights, states=2)


Step = Callable[[Tensor, tuple[Tensor, ...]], tuple[dict[str, Tensor], tuple[Tensor, ...]]]


def _over_time(step: Step, x_NWF: Tensor, weights: _Weights, *, states: int) -> tuple[dict[str, Tensor], Tensor]:
    """Run ``step`` along W from zeros -> gates by name [N, W, H], and the first state [N, W, H]."""
    zero_NH = x_NWF.new_zeros(len(x_NWF), weights.width)
    state: tuple[Tensor, ...] = (zero_NH,) * states
    history: list[dict[str, Tensor]] = []
    hidden: list[Tensor] = []
    for part_NG in weights.of_input(x_NWF).unbind(dim=1):
        gates, found = step(part_NG, state)
        kept = weights.zoneout
        state = tuple(kept * old + (1.0 - kept) * new for old, new in zip(state, found, strict=True)) if kept else found
        history.append(gates)
        hidden.append(state[0])
    return {name: torch.stack([gates[name] for gates in history], dim=1) for name in history[0]}, torch.stack(hidden, 1)
