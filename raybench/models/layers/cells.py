"""One direction of one recurrent layer over time: a fused kernel, ours or torch's, or the same cell written out.

Written out, a cell can do what torch's kernels cannot, layer norm inside it and zoneout, and ours, which have zoneout,
only the latter; and it shows its gates, at the price of a loop over time. Where a kernel can do it, its numbers are the
kernel's.

Shapes: N samples, W rows of lookback, K width of the layer's input, H hidden, G = H x gates in torch's order
(GRU: reset, update, new; LSTM: input, forget, cell, output).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import layer_norm, linear

from raybench.models.fused.choice import applies

Mode = Literal["GRU", "LSTM"]

Carried = tuple[Tensor, ...]
"""What a cell hands to its next step: (h [N, H],) in a GRU, (h [N, H], c [N, H]) in an LSTM."""

Mix = Callable[[Tensor, Tensor], Tensor]
"""What becomes of a unit's old and new value, each [N, H]."""

Gates = Mapping[str, Tensor]
"""The gates of one step by name, each [N, H], in torch's order; in [0, 1], but those of ``SIGNED`` in [-1, 1]."""

SIGNED = ("new", "cell")


class Step(NamedTuple):
    """What a cell makes of one row of the window: what it hands on, and the gates by which it got there."""

    carried: Carried
    gates: Gates


class CellWeights(NamedTuple):
    """The weights of torch's cells."""

    input_GK: Tensor
    hidden_GH: Tensor
    input_bias_G: Tensor
    hidden_bias_G: Tensor


class CellNorm(NamedTuple):
    """Gains of the layer norms inside a cell; torch's two biases serve as theirs. The last two are an LSTM's."""

    input_gain_G: Tensor
    hidden_gain_G: Tensor
    cell_gain_H: Tensor | None = None
    cell_bias_H: Tensor | None = None


def fused_with(
    x_NWK: Tensor, carried: Carried, weights: CellWeights, held: tuple[Tensor, ...], *, backwards: bool = False
) -> tuple[Tensor, Carried]:
    """Run our kernel where it ``applies``, as ``fused`` does, with zoneout: ``held`` of each state [N, W, H].

    These are the shares that it keeps of its old value. A gradient is right only where they are all or nothing.
    """
    from raybench.models.fused.layer import Weights, run_layer  # loads numba

    return run_layer(x_NWK, carried, Weights(*weights), backwards=backwards, held=held)


def fused(
    mode: Mode, x_NWK: Tensor, carried: Carried, weights: CellWeights, *, backwards: bool = False
) -> tuple[Tensor, Carried]:
    """Run a kernel of ours or torch's -> the hidden states [N, W, H] and what the last step hands on.

    ``backwards``: from the newest row to the oldest; the states stay with their rows.
    """
    if applies(x_NWK, *carried, *weights):
        return fused_with(x_NWK, carried, weights, (), backwards=backwards)
    if backwards:
        out_NWH, carried = fused(mode, x_NWK.flip(1), carried, weights)
        return out_NWH.flip(1), carried
    chunk = one_chunk(weights)
    h_1NH, training = carried[0].unsqueeze(0), torch.is_grad_enabled()
    if mode == "GRU":
        out_NWH, h_1NH = torch.gru(x_NWK, h_1NH, chunk, True, 1, 0.0, training, False, True)
        return out_NWH, (h_1NH[0],)
    state = [h_1NH, carried[1].unsqueeze(0)]
    out_NWH, h_1NH, c_1NH = torch.lstm(x_NWK, state, chunk, True, 1, 0.0, training, False, True)
    return out_NWH, (h_1NH[0], c_1NH[0])


def one_chunk(weights: CellWeights) -> list[Tensor]:
    """Copy the weights next to each other, as cuDNN wants them: it warns of any other layout and copies itself."""
    flat = torch.cat([value.reshape(-1) for value in weights])
    parts = flat.split([value.numel() for value in weights])
    return [part.view(value.shape) for part, value in zip(parts, weights, strict=True)]


def written_out(
    mode: Mode,
    x_NWK: Tensor,
    carried: Carried,
    weights: CellWeights,
    norm: CellNorm | None = None,
    mix: Mix = lambda old_NH, new_NH: new_NH,
    watch: Callable[[Gates], None] | None = None,
) -> tuple[Tensor, Carried]:
    """Run the cell step by step -> the hidden states [N, W, H] and what the last step hands on.

    ``mix`` is asked at each step for every unit, of an LSTM's hidden and cell state alike. ``watch`` is
    given the gates of each step.
    """
    step = gru_step if mode == "GRU" else lstm_step
    gain_G = None if norm is None else norm.input_gain_G
    x_NWG = _projected(mode, x_NWK, weights.input_GK, weights.input_bias_G, gain_G)
    out = []
    for x_NG in x_NWG.unbind(1):
        found, gates = step(x_NG, carried, weights, norm)
        if watch is not None:
            watch(gates)
        carried = tuple(mix(old_NH, new_NH) for old_NH, new_NH in zip(carried, found, strict=True))
        out.append(carried[0])
    return torch.stack(out, dim=1), carried


def gru_step(x_NG: Tensor, carried: Carried, weights: CellWeights, norm: CellNorm | None = None) -> Step:
    """One step of a GRU (Cho et al. 2014; reset after the product, as in torch and cuDNN).

        reset   r  = sigmoid(W_ir x + b_ir + W_hr h + b_hr)
        update  z  = sigmoid(W_iz x + b_iz + W_hz h + b_hz)
        new     n  = tanh(W_in x + b_in + r (W_hn h + b_hn))
                h' = (1 - z) n + z h

    so an update gate near 1 keeps the state. ``x_NG``: the projected input, its bias included.
    """
    (h_NH,) = carried
    gain_G = None if norm is None else norm.hidden_gain_G
    h_NG = _projected("GRU", h_NH, weights.hidden_GH, weights.hidden_bias_G, gain_G)
    x_reset, x_update, x_new = x_NG.chunk(3, dim=1)
    h_reset, h_update, h_new = h_NG.chunk(3, dim=1)
    reset_NH, update_NH = torch.sigmoid(x_reset + h_reset), torch.sigmoid(x_update + h_update)
    new_NH = torch.tanh(x_new + reset_NH * h_new)
    gates = {"reset": reset_NH, "update": update_NH, "new": new_NH}
    return Step((new_NH + update_NH * (h_NH - new_NH),), gates)


def lstm_step(x_NG: Tensor, carried: Carried, weights: CellWeights, norm: CellNorm | None = None) -> Step:
    """One step of an LSTM (Hochreiter and Schmidhuber 1997, with forget gates).

        input   i  = sigmoid(W_ii x + b_ii + W_hi h + b_hi)
        forget  f  = sigmoid(W_if x + b_if + W_hf h + b_hf)
        cell    g  = tanh(W_ig x + b_ig + W_hg h + b_hg)
        output  o  = sigmoid(W_io x + b_io + W_ho h + b_ho)
                c' = f c + i g,  h' = o tanh(c')

    where layer norm, if there is any, comes between the last c' and its tanh too. ``x_NG``: the projected input, its
    bias included.
    """
    h_NH, c_NH = carried
    gain_G = None if norm is None else norm.hidden_gain_G
    h_NG = _projected("LSTM", h_NH, weights.hidden_GH, weights.hidden_bias_G, gain_G)
    entered, kept, proposed, left = (x_NG + h_NG).chunk(4, dim=1)
    forget_NH, input_NH, cell_NH = torch.sigmoid(kept), torch.sigmoid(entered), torch.tanh(proposed)
    c_NH = forget_NH * c_NH + input_NH * cell_NH
    seen_NH = c_NH if norm is None else layer_norm(c_NH, c_NH.shape[-1:], norm.cell_gain_H, norm.cell_bias_H)
    output_NH = torch.sigmoid(left)
    gates = {"input": input_NH, "forget": forget_NH, "cell": cell_NH, "output": output_NH}
    return Step((output_NH * torch.tanh(seen_NH), c_NH), gates)


def _projected(mode: Mode, value: Tensor, weight_GK: Tensor, bias_G: Tensor, gain_G: Tensor | None) -> Tensor:
    """Project [..., K] to the gates [..., G]; with a gain, normalise before the bias is added.

    The groups normalised together are those of Ba et al. 2016: in an LSTM all four gates, in a GRU reset and
    update, and the new state by itself.
    """
    if gain_G is None:
        return linear(value, weight_GK, bias_G)
    size = len(bias_G)
    groups = [size // 3 * 2, size // 3] if mode == "GRU" else [size]
    parts = linear(value, weight_GK).split(groups, dim=-1)
    return torch.cat([layer_norm(part, part.shape[-1:]) for part in parts], dim=-1) * gain_G + bias_G
