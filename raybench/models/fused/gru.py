"""A GRU over the whole window for some rows of a batch, and the way back: what stays in the cache of one core.

Shapes: N samples, W rows of lookback, K width of the input, H hidden; P and Q are H and K padded to ``LANES``. The
three gates come in torch's order: reset, update, new. What cells are, ``models/layers/cells.py`` says.

Of each step four matrices [R, P] are kept for the way back: reset, update, new and the hidden state's part of new
before it was reset. Columns from H to P hold whatever the products left there and are read by nothing that counts.
"""

from __future__ import annotations

from raybench.feature_sets.compiled import compiled
from raybench.models.fused.blocks import ROWS
from raybench.models.fused.elementwise import (
    add_product,
    add_taken,
    give,
    hold_update,
    mix,
    multiply,
    set_product,
    shift,
    sigmoid,
    take,
    tanh,
    through_gate,
    through_new,
    through_update,
)
from raybench.models.fused.gradients import add_to_weights, to_input, to_state
from raybench.models.fused.products import Array, Flat, product


@compiled
def gru_forward(
    x_NWK: Array, start_N1H: Array, held_NWH: Array, weight: Flat, bias: Flat, out_NWH: Array, kept: Flat,
    scratch: Flat, first: int, rows: int, backwards: int,
) -> None:  # fmt: skip
    """Run rows ``first`` and following -> ``out_NWH``.

    ``held``: the share of its old value that zoneout leaves to a unit, or empty. It is kept as part of the update
    gate, by which the way back is right where the share is all or nothing.

    ``weight``: [3, K + H, P], input above hidden. ``bias``: [4, P]: of reset, update, new's input, new's hidden state.
    ``kept``: [W, 4, R, P], or of one step, where nothing is to be kept; R is ``rows`` padded to ``ROWS``.
    ``scratch``: [R, K + H + P], and [R, P] more if anything is held, whatever is in it.
    """
    steps, width, hidden = x_NWK.shape[1], x_NWK.shape[2], out_NWH.shape[2]
    padded, depth, up = bias.size // 4, width + hidden, (rows + ROWS - 1) // ROWS * ROWS
    size = up * padded
    scratch[:] = 0
    seen, h, mask = scratch[: up * depth], scratch[up * depth :][:size], scratch[up * depth :][size:]
    take(h, padded, 0, start_N1H, first, rows, 0)
    panel = depth * padded
    for step in range(steps):
        t = steps - 1 - step if backwards else step
        gates = kept if kept.size == 4 * size else kept[step * 4 * size : (step + 1) * 4 * size]
        take(seen, depth, 0, x_NWK, first, rows, t)
        shift(seen, depth, width, h, padded, rows, hidden)
        for gate in range(2):
            product(gates[gate * size :], padded, bias[gate * padded :], 0, seen, depth, 1, weight[gate * panel :],
                    padded, up, padded, depth)  # fmt: skip
        new, old = gates[2 * size : 3 * size], gates[3 * size :]
        product(new, padded, bias[2 * padded :], 0, seen, depth, 1, weight[2 * panel :], padded, up, padded, width)
        product(old, padded, bias[3 * padded :], 0, seen[width:], depth, 1, weight[2 * panel + width * padded :],
                padded, up, padded, hidden)  # fmt: skip
        sigmoid(gates[: 2 * size])
        if held_NWH.size:
            take(mask, padded, 0, held_NWH, first, rows, t)
            hold_update(gates[size : 2 * size], mask)
        add_product(new, gates[:size], old)
        tanh(new)
        mix(h, gates[size : 2 * size], new)
        give(out_NWH, first, rows, t, h, padded)


@compiled
def gru_backward(
    x_NWK: Array, start_N1H: Array, weight_in: Flat, weight_hidden: Flat, out_NWH: Array, kept: Flat, given_NWH: Array,
    given_N1H: Array, grad_x_NWK: Array, grad_start_N1H: Array, grad_in: Flat, grad_hidden: Flat, grad_bias: Flat,
    scratch: Flat, first: int, rows: int, backwards: int,
) -> None:  # fmt: skip
    """Go back through rows ``first`` and following.

    ``weight_in`` [3, H, Q], ``weight_hidden`` [3, H, P]. ``given``: the gradient of every state [N, W, H] and of the
    last one [N, H]. Written are those of the input and of the first state, and added to those of the weights,
    [3, P, Q] and [3, P, P], and of the biases, [4, P] as they are given. What is not there, or not wanted, is empty.
    ``scratch``: [R, 6 P + Q], whatever is in it.
    """
    steps, hidden, up = x_NWK.shape[1], out_NWH.shape[2], (rows + ROWS - 1) // ROWS * ROWS
    padded, wide = weight_hidden.size // (3 * hidden), weight_in.size // (3 * hidden)
    size = up * padded
    scratch[:] = 0
    h, grad, grads, x = scratch[:size], scratch[size : 2 * size], scratch[2 * size : 6 * size], scratch[6 * size :]
    d_reset, d_update = grads[:size], grads[size : 2 * size]
    d_new, d_old = grads[2 * size : 3 * size], grads[3 * size :]
    if given_N1H.size:
        take(grad, padded, 0, given_N1H, first, rows, 0)
    for step in range(steps - 1, -1, -1):
        t = steps - 1 - step if backwards else step
        gates = kept[step * 4 * size : (step + 1) * 4 * size]
        reset, update, new, old = gates[:size], gates[size : 2 * size], gates[2 * size : 3 * size], gates[3 * size :]
        if step == 0:
            take(h, padded, 0, start_N1H, first, rows, 0)
        else:
            take(h, padded, 0, out_NWH, first, rows, t + 1 if backwards else t - 1)
        if given_NWH.size:
            add_taken(grad, padded, given_NWH, first, rows, t)
        through_new(d_new, grad, update, new)
        through_update(d_update, grad, h, update, new)
        through_gate(d_reset, d_new, old, reset)
        set_product(d_old, d_new, reset)
        multiply(grad, update)
        if grad_in.size:
            take(x, wide, 0, x_NWK, first, rows, t)
            add_to_weights(grad_in, grad_hidden, grad_bias, grads, x, h, 3, padded, wide, rows)
        if grad_x_NWK.size:
            to_input(x, grads, weight_in, 3, padded, wide, hidden)
            give(grad_x_NWK, first, rows, t, x, wide)
        to_state(grad, grads, weight_hidden, 3, padded, hidden)
    if grad_start_N1H.size:
        give(grad_start_N1H, first, rows, 0, grad, padded)
