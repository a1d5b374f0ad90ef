"""A GRU or LSTM with what torch's own lack: variational dropout, DropConnect, zoneout, layer norm.

Layers and directions run one after the other, each by a fused kernel unless layer norm wants the cell written out,
or zoneout does, which torch's kernels do not have and ours do. Parameters have torch's names, so weights go from one
to the other.

Shapes: N samples, W rows of lookback, F features, K width of a layer's input, H hidden, D directions, L layers.
All noise comes from torch's generator of the device; in evaluation mode there is none.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import dropout

from raybench.models.fused.choice import applies
from raybench.models.layers.cells import Carried, CellNorm, CellWeights, Mode, fused, fused_with, written_out

State = Tensor | tuple[Tensor, Tensor]
"""What torch's networks carry over time: h [L*D, N, H] of a GRU, (h, c) of an LSTM."""


class Noise(NamedTuple):
    """What one forward pass draws once, for all of its time steps.

    ``input_masks``: [N, 1, K] of each layer's input; none where nothing is masked.
    ``hidden_weights``: recurrent weights [G, H] of each layer and direction, as they are used.
    """

    input_masks: tuple[Tensor, ...]
    hidden_weights: tuple[Tensor, ...]


def sample_mask(x_NWK: Tensor, width: int, rate: float) -> Tensor:
    """Draw a dropout mask [N, 1, width]: the same at each time step, another for each sample."""
    return dropout(x_NWK.new_ones(x_NWK.shape[0], 1, width), rate)


def zone_out(old_NH: Tensor, new_NH: Tensor, rate: float, *, training: bool) -> Tensor:
    """Let a share of the units keep their old value; in evaluation each takes the mean of the two outcomes."""
    if rate == 0.0:
        return new_NH
    if training:
        return torch.where(torch.rand_like(new_NH) < rate, old_NH, new_NH)
    return rate * old_NH + (1.0 - rate) * new_NH


class RegularisedRNN(nn.RNNBase):
    """As nn.GRU or nn.LSTM, batch first: x [N, W, F] -> hidden states [N, W, D*H] and the last state.

    ``variational_dropout``: the input of each layer, the features included, loses a share of its columns; one
    mask per sample and layer for all time steps (Gal and Ghahramani 2016, whose recurrent mask it leaves out).
    ``recurrent_dropconnect``: a share of the recurrent weights is zero and the rest is scaled up, drawn once per
    forward pass for all samples and time steps (Merity et al. 2018).
    ``zoneout``: at each step a share of the units keeps its value, of an LSTM's hidden and cell state alike, drawn
    apart for both (Krueger et al. 2017); in evaluation mode the mean takes its place.
    ``layer_norm``: inside the cell (Ba et al. 2016): the projections of input and hidden state are normalised
    apart, each with its gain (norm_ih, norm_hh) and with torch's two biases in place of the norms' own, and an
    LSTM's cell state on its way to the output (norm_c, norm_c_bias).
    ``dropout``: of single values between layers, as torch has it.
    """

    def __init__(
        self,
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
    ) -> None:
        super().__init__(
            mode, num_features, hidden_size, num_layers, batch_first=True, dropout=dropout, bidirectional=bidirectional
        )
        self.cell: Mode = mode
        self.variational_dropout, self.recurrent_dropconnect = variational_dropout, recurrent_dropconnect
        self.zoneout, self.layer_norm = zoneout, layer_norm
        self.written_out = layer_norm or zoneout > 0.0
        self.directions = 2 if bidirectional else 1
        ends = ("", "_reverse")[: self.directions]
        self.suffixes = [f"l{layer}{end}" for layer in range(num_layers) for end in ends]
        if layer_norm:
            for suffix in self.suffixes:
                self._add_norm(suffix)

    def _add_norm(self, suffix: str) -> None:
        gates = self.hidden_size * (3 if self.cell == "GRU" else 4)
        sizes = {"norm_ih": gates, "norm_hh": gates} | ({} if self.cell == "GRU" else {"norm_c": self.hidden_size})
        for name, size in sizes.items():
            self.register_parameter(f"{name}_{suffix}", nn.Parameter(torch.ones(size)))
        if self.cell == "LSTM":
            self.register_parameter(f"norm_c_bias_{suffix}", nn.Parameter(torch.zeros(self.hidden_size)))

    def draw(self, x_NWF: Tensor) -> Noise:
        """Draw what one forward pass over ``x`` holds constant over time."""
        masks: tuple[Tensor, ...] = ()
        if self.training and self.variational_dropout:
            widths = [self.input_size] + [self.hidden_size * self.directions] * (self.num_layers - 1)
            masks = tuple(sample_mask(x_NWF, width, self.variational_dropout) for width in widths)
        weights = (getattr(self, f"weight_hh_{suffix}") for suffix in self.suffixes)
        return Noise(masks, tuple(dropout(w_GH, self.recurrent_dropconnect, self.training) for w_GH in weights))

    def forward(self, x_NWF: Tensor, state: State | None = None, noise: Noise | None = None) -> tuple[Tensor, State]:
        """Run over time, from ``state`` if given; ``noise`` is drawn here unless it is given."""
        noise = self.draw(x_NWF) if noise is None else noise
        out, finals = x_NWF, list[Carried]()
        for layer in range(self.num_layers):
            if layer:
                out = dropout(out, self.dropout, self.training)
            if noise.input_masks:
                out = out * noise.input_masks[layer]
            parts = []
            for direction in range(self.directions):
                at = layer * self.directions + direction
                part_NWH, final = self._run(at, out, self._carried(state, at, out), noise)
                parts.append(part_NWH)
                finals.append(final)
            out = parts[0] if self.directions == 1 else torch.cat(parts, dim=2)
        h_LNH, *rest = (torch.stack(values) for values in zip(*finals, strict=True))
        return out, (h_LNH, rest[0]) if rest else h_LNH

    def _carried(self, state: State | None, at: int, x_NWK: Tensor) -> Carried:
        """Give what layer and direction number ``at`` starts from."""
        if state is None:
            zeros_NH = x_NWK.new_zeros(x_NWK.shape[0], self.hidden_size)
            return (zeros_NH,) if self.cell == "GRU" else (zeros_NH, zeros_NH)
        return (state[at],) if isinstance(state, Tensor) else (state[0][at], state[1][at])

    def _run(self, at: int, x_NWK: Tensor, carried: Carried, noise: Noise) -> tuple[Tensor, Carried]:
        """Run one layer in one direction; the second reads the window from its newest row to its oldest."""
        suffix, backward = self.suffixes[at], at % self.directions == 1
        input_GK, input_bias_G, hidden_bias_G = (
            getattr(self, f"{name}_{suffix}") for name in ("weight_ih", "bias_ih", "bias_hh")
        )
        weights = CellWeights(input_GK, noise.hidden_weights[at], input_bias_G, hidden_bias_G)
        if not self.written_out:
            return fused(self.cell, x_NWK, carried, weights, backwards=backward)
        if not self.layer_norm and applies(x_NWK, *carried, *weights) and self._all_or_nothing():
            held = self._held(x_NWK, len(carried), backward)
            return fused_with(x_NWK, carried, weights, held, backwards=backward)
        x_NWK = x_NWK.flip(1) if backward else x_NWK
        out_NWH, carried = written_out(self.cell, x_NWK, carried, weights, self.norm(suffix), self.mix)
        return (out_NWH.flip(1) if backward else out_NWH), carried

    def norm(self, suffix: str) -> CellNorm | None:
        """Give the layer norms of a layer and direction, such as ``l0_reverse``; None where there are none."""
        if not self.layer_norm:
            return None
        names = ("norm_ih", "norm_hh") if self.cell == "GRU" else ("norm_ih", "norm_hh", "norm_c", "norm_c_bias")
        return CellNorm(*(getattr(self, f"{name}_{suffix}") for name in names))

    def _all_or_nothing(self) -> bool:
        """Whether what zoneout leaves of a step is the old value or the new one, or nobody asks for a gradient."""
        return self.training or not torch.is_grad_enabled()

    def _held(self, x_NWK: Tensor, states: int, backward: bool) -> tuple[Tensor, ...]:
        """Draw what ``mix`` would, step by step, of each state: the shares [N, W, H] that it keeps of its old value."""
        samples, steps, _ = x_NWK.shape
        shape = (steps, states, samples, self.hidden_size)
        if not self.training:
            return (x_NWK.new_tensor(self.zoneout).expand(samples, steps, self.hidden_size),) * states
        held_WSNH = (torch.rand(shape, dtype=x_NWK.dtype, device=x_NWK.device) < self.zoneout).to(x_NWK.dtype)
        held_WSNH = held_WSNH.flip(0) if backward else held_WSNH
        return tuple(held_WSNH[:, state].transpose(0, 1) for state in range(states))

    def mix(self, old_NH: Tensor, new_NH: Tensor) -> Tensor:
        """Say what zoneout leaves of a step."""
        return zone_out(old_NH, new_NH, self.zoneout, training=self.training)
