"""One layer of a GRU or LSTM in one direction, for torch: forward, backward, and torch's own where neither is enough.

A batch is cut into tiles of at most ``TILE`` rows, the same ones whatever else the machine does. Each runs through the
whole window in the cache of one core, and what tiles add to the gradients of weights is summed in their order: the
same input gives the same bits, on however many threads.

Shapes: N samples, W rows of lookback, K width of the input, H hidden, G = H x gates; P and Q are H and K padded to
``LANES``. ``held``: of each state that a step hands on the share [N, W, H] that it keeps of its old value (zoneout);
none where nothing is held. Shares in between are for the way forward alone: a gradient needs all or nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from raybench.models.fused.blocks import LANES, ROWS
from raybench.models.fused.machine_code import Kernel, Packed, kernel
from raybench.models.fused.team import together

TILE = 80
"""Rows that go through the window together. A multiple of ``ROWS``."""


class Weights(NamedTuple):
    """The weights of torch's cells, gates one above the other in torch's order."""

    input_GK: Tensor
    hidden_GH: Tensor
    input_bias_G: Tensor
    hidden_bias_G: Tensor


def run_layer(
    x_NWK: Tensor, start: tuple[Tensor, ...], weights: Weights, *, backwards: bool, held: tuple[Tensor, ...] = ()
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """Run one layer -> its states [N, W, H], and what its last step hands on.

    ``start``: (h [N, H],) makes it a GRU, (h, c) an LSTM. ``backwards``: from the last row to the first; the states
    stay with their rows. What is given lies on the CPU and is float32 or float64 throughout.
    """
    given = (x_NWK, *start, *weights)
    if torch.is_grad_enabled() and any(value.requires_grad for value in given):
        apply: Callable[..., tuple[Tensor, ...]] = _Layer.apply
        out_NWH, *last = apply(backwards, held, len(start) == 2, *given)
    else:
        out_NWH, last, _ = _forward(x_NWK, start, held, weights, backwards, keep=False)
    return out_NWH, tuple(last)


class _Layer(torch.autograd.Function):
    """Arguments: whether backwards, what is held, whether an LSTM; x, the first states, the weights."""

    @staticmethod
    def forward(
        ctx: Any, backwards: bool, held: tuple[Tensor, ...], is_lstm: bool, *given: Tensor
    ) -> tuple[Tensor, ...]:
        x_NWK, start, weights = _parted(given, is_lstm)
        out_NWH, last, kept = _forward(x_NWK, start, held, weights, backwards, keep=True)
        ctx.save_for_backward(*given, out_NWH, *kept)
        ctx.backwards, ctx.held, ctx.is_lstm, ctx.given = backwards, held, is_lstm, len(given)
        ctx.set_materialize_grads(False)
        return (out_NWH, *last)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        saved, wanted = ctx.saved_tensors, ctx.needs_input_grad[3:]
        given, out_NWH, kept = saved[: ctx.given], saved[ctx.given], saved[ctx.given + 1 :]
        if torch.is_grad_enabled():  # somebody wants the gradient's gradient
            return None, None, None, *_torchs(given, ctx.held, grads, wanted, ctx.backwards, is_lstm=ctx.is_lstm)
        found = _backward(given, ctx.held, out_NWH, kept, grads, wanted, ctx.backwards, is_lstm=ctx.is_lstm)
        return None, None, None, *found


def _parted(given: tuple[Tensor, ...], is_lstm: bool) -> tuple[Tensor, tuple[Tensor, ...], Weights]:
    states = 2 if is_lstm else 1
    return given[0], given[1 : 1 + states], Weights(*given[1 + states :])


def _forward(
    x_NWK: Tensor,
    start: tuple[Tensor, ...],
    held: tuple[Tensor, ...],
    weights: Weights,
    backwards: bool,
    *,
    keep: bool,
) -> tuple[Tensor, list[Tensor], list[Tensor]]:
    """Run the tiles -> states, last states, and what each tile keeps for the way back."""
    samples, steps, width = x_NWK.shape
    hidden, is_lstm = weights.hidden_GH.shape[1], len(start) == 2
    run = kernel("lstm_forward" if is_lstm else "gru_forward", x_NWK.dtype)
    if keep:  # what stays for good is loaded before what goes, lest it lie between pieces of that
        kernel("lstm_backward" if is_lstm else "gru_backward", x_NWK.dtype)
    padded = _padded(hidden, LANES)
    weight_GDP, bias_4P = _columns(weights, padded), _biases(weights, padded, is_lstm=is_lstm)
    out_NWH, last_c = x_NWK.new_empty(samples, steps, hidden), x_NWK.new_empty(samples, 1, hidden)
    tiles, states = _tiles(samples), len(start)
    matrices, part = (5 + bool(held) if is_lstm else 4), states * (2 if held else 1)
    kept = [x_NWK.new_empty((steps if keep else 1) * matrices * _padded(rows, ROWS) * padded) for _, rows in tiles]
    entering = [x_NWK, *(state.unsqueeze(1) for state in start), *_shares(x_NWK, held, states)]
    made = [out_NWH, last_c] if is_lstm else [out_NWH]
    alive, given = _packed(run, [*entering, weight_GDP.view(-1), bias_4P.view(-1), *made])

    def go(tile: int, first: int, rows: int) -> None:
        scratch = x_NWK.new_empty(_padded(rows, ROWS) * (width + hidden + part * padded))
        run([*given, run.pack(kept[tile]), run.pack(scratch)], first, rows, int(backwards))

    _each(go, tiles)
    del alive
    last_NH = out_NWH[:, 0 if backwards else -1].clone()
    return out_NWH, [last_NH, last_c[:, 0]] if is_lstm else [last_NH], kept


def _backward(
    given: tuple[Tensor, ...],
    held: tuple[Tensor, ...],
    out_NWH: Tensor,
    kept: tuple[Tensor, ...],
    grads: tuple[Tensor | None, ...],
    wanted: tuple[bool, ...],
    backwards: bool,
    *,
    is_lstm: bool,
) -> list[Tensor | None]:
    """Give the gradients of x, the first states and the weights; None where none is wanted."""
    x_NWK, start, weights = _parted(given, is_lstm)
    hidden, width, states, gates = out_NWH.shape[2], x_NWK.shape[2], len(start), 4 if is_lstm else 3
    padded, wide = _padded(hidden, LANES), _padded(width, LANES)
    tiles, none = _tiles(len(x_NWK)), x_NWK.new_empty(0, 0, 0)
    flowing = [none if grads[0] is None else grads[0]]
    flowing += [none if grad is None else grad.unsqueeze(1) for grad in grads[1:]]
    begun, learnt = any(wanted[1 : 1 + states]), any(wanted[1 + states :])
    grad_x = x_NWK.new_empty(x_NWK.shape) if wanted[0] else none
    grad_start = [x_NWK.new_empty(len(x_NWK), 1, hidden) if begun else none for _ in start]
    sizes = (gates * padded * wide, gates * padded * padded, 4 * padded)
    sums = [x_NWK.new_zeros(len(tiles), size if learnt else 0) for size in sizes]
    rows_in, rows_hidden = (
        torch.nn.functional.pad(weight, (0, to - weight.shape[1])).reshape(-1)
        for weight, to in ((weights.input_GK, wide), (weights.hidden_GH, padded))
    )
    run, matrices = kernel("lstm_backward" if is_lstm else "gru_backward", x_NWK.dtype), 6
    if is_lstm:
        matrices = 12 if held else 9
    entering = [x_NWK, *(state.unsqueeze(1) for state in start), *(_shares(x_NWK, held, states) if is_lstm else [])]
    alive, fixed = _packed(run, [*entering, rows_in, rows_hidden, out_NWH])
    also_alive, moving = _packed(run, [*flowing, grad_x, *grad_start])

    def go(tile: int, first: int, rows: int) -> None:
        scratch = x_NWK.new_empty(_padded(rows, ROWS) * (matrices * padded + wide))
        added = map(run.pack, (*(value[tile] for value in sums), scratch))
        run([*fixed, run.pack(kept[tile]), *moving, *added], first, rows, int(backwards))

    _each(go, tiles)
    del alive, also_alive
    of_weights = _of_weights(sums, hidden, width, is_lstm=is_lstm) if learnt else [None] * 4
    made = [grad_x if wanted[0] else None, *(grad[:, 0] if begun else None for grad in grad_start), *of_weights]
    return [grad if want else None for grad, want in zip(made, wanted, strict=True)]


def _of_weights(sums: list[Tensor], hidden: int, width: int, *, is_lstm: bool) -> list[Tensor | None]:
    """Add what the tiles found, and take the padding away: the gradients of ``Weights``."""
    gates, padded, wide = 4 if is_lstm else 3, _padded(hidden, LANES), _padded(width, LANES)
    of_input, of_hidden, of_bias = (value.sum(dim=0) for value in sums)
    grad_GK = of_input.view(gates, padded, wide)[:, :hidden, :width].reshape(-1, width)
    grad_GH = of_hidden.view(gates, padded, padded)[:, :hidden, :hidden].reshape(-1, hidden)
    bias_4H = of_bias.view(4, padded)[:, :hidden]
    input_4, hidden_4 = (range(4), range(4)) if is_lstm else ((0, 1, 2), (0, 1, 3))
    return [grad_GK, grad_GH, *(bias_4H[list(rows)].reshape(-1) for rows in (input_4, hidden_4))]


def _columns(weights: Weights, padded: int) -> Tensor:
    """Lay the weights out for the way forward: [gates, K + H, P], transposed, input above hidden, zeros beside."""
    hidden, width = weights.hidden_GH.shape[1], weights.input_GK.shape[1]
    gates = len(weights.hidden_GH) // hidden
    laid = weights.input_GK.new_zeros(gates, width + hidden, padded)
    laid[:, :width, :hidden] = weights.input_GK.detach().view(gates, hidden, width).transpose(1, 2)
    laid[:, width:, :hidden] = weights.hidden_GH.detach().view(gates, hidden, hidden).transpose(1, 2)
    return laid


def _biases(weights: Weights, padded: int, *, is_lstm: bool) -> Tensor:
    """Lay the biases out [4, P]: an LSTM's added up; of a GRU's new state the input's and the hidden state's apart."""
    hidden = weights.hidden_GH.shape[1]
    entering, carried = (bias.detach().view(-1, hidden) for bias in (weights.input_bias_G, weights.hidden_bias_G))
    laid = entering.new_zeros(4, padded)
    if is_lstm:
        laid[:, :hidden] = entering + carried
    else:
        laid[:2, :hidden] = entering[:2] + carried[:2]
        laid[2, :hidden], laid[3, :hidden] = entering[2], carried[2]
    return laid


def _shares(x_NWK: Tensor, held: tuple[Tensor, ...], states: int) -> list[Tensor]:
    """What is held of each state, for a kernel: empty where nothing is."""
    return list(held) if held else [x_NWK.new_empty(0, 0, 0)] * states


def _torchs(
    given: tuple[Tensor, ...],
    held: tuple[Tensor, ...],
    grads: tuple[Tensor | None, ...],
    wanted: tuple[bool, ...],
    backwards: bool,
    *,
    is_lstm: bool,
) -> list[Tensor | None]:
    """Give the gradients as ``_backward`` does, by torch's own layer, so that they have gradients themselves."""
    x_NWK, start, weights = _parted(given, is_lstm)
    if backwards:
        x_NWK, held = x_NWK.flip(1), tuple(share_NWH.flip(1) for share_NWH in held)
    with torch.enable_grad():
        out_NWH, *last = (_steps if held else _whole)(x_NWK, start, held, weights)
        made = [out_NWH.flip(1) if backwards else out_NWH, *last]
        pairs = [(value, grad) for value, grad in zip(made, grads, strict=True) if grad is not None]
        asked = [value for value, want in zip(given, wanted, strict=True) if want]
        found = iter(
            torch.autograd.grad(
                [value for value, _ in pairs], asked, [grad for _, grad in pairs], create_graph=True, allow_unused=True
            )
        )
    return [next(found) if want else None for want in wanted]


def _whole(x_NWK: Tensor, start: tuple[Tensor, ...], _: tuple[Tensor, ...], weights: Weights) -> list[Tensor]:
    """Run torch's layer -> its states, and what the last step hands on."""
    states = [state.unsqueeze(0) for state in start]
    if len(states) == 1:
        out_NWH, *last = torch.gru(x_NWK, states[0], list(weights), True, 1, 0.0, True, False, True)
    else:
        out_NWH, *last = torch.lstm(x_NWK, states, list(weights), True, 1, 0.0, True, False, True)
    return [out_NWH, *(state[0] for state in last)]


def _steps(x_NWK: Tensor, start: tuple[Tensor, ...], held: tuple[Tensor, ...], weights: Weights) -> list[Tensor]:
    """Run torch's cell step by step, with something held -> as ``_whole``."""
    cell: Callable[..., Any] = torch.gru_cell if len(start) == 1 else torch.lstm_cell
    states, out = list(start), list[Tensor]()
    for t, x_NK in enumerate(x_NWK.unbind(1)):
        made = [cell(x_NK, *states, *weights)] if len(states) == 1 else cell(x_NK, states, *weights)
        states = [new + share[:, t] * (old - new) for new, old, share in zip(made, states, held, strict=True)]
        out.append(states[0])
    return [torch.stack(out, dim=1), *states]


def _padded(size: int, to: int) -> int:
    return -(-size // to) * to


def _tiles(samples: int) -> list[tuple[int, int]]:
    """Cut the samples into tiles of nearly the same size -> where each begins, and its rows."""
    count = max(1, -(-samples // TILE))
    rows = _padded(-(-samples // count), ROWS)
    return [(first, min(rows, samples - first)) for first in range(0, samples, rows)]


def _packed(run: Kernel, values: list[Tensor]) -> tuple[list[Tensor], list[Packed]]:
    """Make tensors ready for a kernel -> what has to be kept while it runs, and what it is given."""
    held = [value.detach().contiguous() for value in values]
    return held, [run.pack(value) for value in held]


def _each(work: Callable[[int, int, int], None], tiles: list[tuple[int, int]]) -> None:
    """Do the work for each tile, on as many threads as torch has; whoever is free takes the next."""
    threads = min(torch.get_num_threads(), len(tiles))
    left = iter([(tile, *span) for tile, span in enumerate(tiles)])

    def go() -> None:
        for tile, first, rows in left:
            work(tile, first, rows)

    together(go, threads)
