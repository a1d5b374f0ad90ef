"""An LSTM over the whole window for some rows of a batch, and the way back; shapes and manner as in ``fused.gru``.

The four gates come in torch's order: input, forget, cell, output. Of each step five matrices [R, P] are kept: the
gates, and the cell's state c after it; where zoneout holds a share of the states, c as it is handed on as well.
``held`` and ``held_c`` are these shares of h and c, or empty.
"""

from __future__ import annotations

from raybench.feature_sets.compiled import compiled
from raybench.models.fused.blocks import ROWS
from raybench.models.fused.elementwise import (
    add,
    add_product,
    add_taken,
    add_through_tanh,
    copy,
    give,
    hold,
    multiply,
    part,
    shift,
    sigmoid,
    take,
    tanh,
    through_gate,
    through_tanh,
)
from raybench.models.fused.gradients import add_to_weights, to_input, to_state
from raybench.models.fused.products import Array, Flat, product


@compiled
def lstm_forward(
    x_NWK: Array, start_N1H: Array, start_c_N1H: Array, held_NWH: Array, held_c_NWH: Array, weight: Flat, bias: Flat,
    out_NWH: Array, last_c_N1H: Array, kept: Flat, scratch: Flat, first: int, rows: int, backwards: int,
) -> None:  # fmt: skip
    """Run rows ``first`` and following -> ``out_NWH`` and the last c.

    ``weight``: [4, K + H, P], input above hidden. ``bias``: [4, P], both of torch's added.
    ``kept``: [W, 5 or 6, R, P], or of one step, where nothing is to be kept; R is ``rows`` padded to ``ROWS``.
    ``scratch``: [R, K + H + 2 P], and [R, 2 P] more if anything is held, whatever is in it.
    """
    steps, width, hidden = x_NWK.shape[1], x_NWK.shape[2], out_NWH.shape[2]
    padded, depth, up = bias.size // 4, width + hidden, (rows + ROWS - 1) // ROWS * ROWS
    size, panel, count = up * padded, depth * padded, 6 if held_NWH.size else 5
    scratch[:] = 0
    h, c, seen = scratch[:size], scratch[size : 2 * size], scratch[2 * size :][: up * depth]
    old, mask = scratch[2 * size + up * depth :][:size], scratch[2 * size + up * depth :][size:]
    take(h, padded, 0, start_N1H, first, rows, 0)
    take(c, padded, 0, start_c_N1H, first, rows, 0)
    for step in range(steps):
        t = steps - 1 - step if backwards else step
        made = kept if kept.size == count * size else kept[step * count * size : (step + 1) * count * size]
        take(seen, depth, 0, x_NWK, first, rows, t)
        shift(seen, depth, width, h, padded, rows, hidden)
        for gate in range(4):
            product(made[gate * size :], padded, bias[gate * padded :], 0, seen, depth, 1, weight[gate * panel :],
                    padded, up, padded, depth)  # fmt: skip
        sigmoid(made[: 2 * size])
        tanh(made[2 * size : 3 * size])
        sigmoid(made[3 * size : 4 * size])
        if held_NWH.size:
            copy(old, c)
        multiply(c, made[size : 2 * size])
        add_product(c, made[:size], made[2 * size : 3 * size])
        now = made[4 * size : 5 * size]
        copy(now, c)
        if held_NWH.size:
            take(mask, padded, 0, held_c_NWH, first, rows, t)
            hold(c, mask, old)
            copy(made[5 * size :], c)
            copy(old, h)
        copy(h, now)
        tanh(h)
        multiply(h, made[3 * size : 4 * size])
        if held_NWH.size:
            take(mask, padded, 0, held_NWH, first, rows, t)
            hold(h, mask, old)
        give(out_NWH, first, rows, t, h, padded)
    give(last_c_N1H, first, rows, 0, c, padded)


@compiled
def lstm_backward(
    x_NWK: Array, start_N1H: Array, start_c_N1H: Array, held_NWH: Array, held_c_NWH: Array, weight_in: Flat,
    weight_hidden: Flat, out_NWH: Array, kept: Flat, given_NWH: Array, given_N1H: Array, given_c_N1H: Array,
    grad_x_NWK: Array, grad_start_N1H: Array, grad_start_c_N1H: Array, grad_in: Flat, grad_hidden: Flat,
    grad_bias: Flat, scratch: Flat, first: int, rows: int, backwards: int,
) -> None:  # fmt: skip
    """Go back through rows ``first`` and following.

    ``weight_in`` [4, H, Q], ``weight_hidden`` [4, H, P]. ``given``: the gradient of every state [N, W, H], of the last
    one and of the last c. Written are those of the input and of the first states, and added to those of the weights,
    [4, P, Q] and [4, P, P], and of the biases, [4, P]. What is not there, or not wanted, is empty.
    ``scratch``: [R, 9 P + Q], and [R, 3 P] more if anything is held, whatever is in it.
    """
    steps, hidden, up = x_NWK.shape[1], out_NWH.shape[2], (rows + ROWS - 1) // ROWS * ROWS
    padded, wide = weight_hidden.size // (4 * hidden), weight_in.size // (4 * hidden)
    size = up * padded
    scratch[:] = 0
    h, grad, grad_c = scratch[:size], scratch[size : 2 * size], scratch[2 * size : 3 * size]
    seen, old_c, grads = scratch[3 * size : 4 * size], scratch[4 * size : 5 * size], scratch[5 * size : 9 * size]
    x, count = scratch[9 * size :][: up * wide], 6 if held_NWH.size else 5
    more = scratch[9 * size + up * wide :]
    mask, to_old, to_old_c = more[:size], more[size : 2 * size], more[2 * size :]
    if given_N1H.size:
        take(grad, padded, 0, given_N1H, first, rows, 0)
    if given_c_N1H.size:
        take(grad_c, padded, 0, given_c_N1H, first, rows, 0)
    for step in range(steps - 1, -1, -1):
        t = steps - 1 - step if backwards else step
        made = kept[step * count * size : (step + 1) * count * size]
        if step == 0:
            take(h, padded, 0, start_N1H, first, rows, 0)
            take(old_c, padded, 0, start_c_N1H, first, rows, 0)
        else:
            take(h, padded, 0, out_NWH, first, rows, t + 1 if backwards else t - 1)
            copy(old_c, kept[(step * count - 1) * size : step * count * size])
        if given_NWH.size:
            add_taken(grad, padded, given_NWH, first, rows, t)
        if held_NWH.size:
            take(mask, padded, 0, held_NWH, first, rows, t)
            part(to_old, grad, mask)
            take(mask, padded, 0, held_c_NWH, first, rows, t)
            part(to_old_c, grad_c, mask)
        _through_cell(grads, grad, grad_c, made, old_c, seen)
        if held_NWH.size:
            add(grad_c, to_old_c)
        if grad_in.size:
            take(x, wide, 0, x_NWK, first, rows, t)
            add_to_weights(grad_in, grad_hidden, grad_bias, grads, x, h, 4, padded, wide, rows)
        if grad_x_NWK.size:
            to_input(x, grads, weight_in, 4, padded, wide, hidden)
            give(grad_x_NWK, first, rows, t, x, wide)
        grad[:] = 0
        if held_NWH.size:
            add(grad, to_old)
        to_state(grad, grads, weight_hidden, 4, padded, hidden)
    if grad_start_N1H.size:
        give(grad_start_N1H, first, rows, 0, grad, padded)
        give(grad_start_c_N1H, first, rows, 0, grad_c, padded)


@compiled
def _through_cell(grads: Flat, grad: Flat, grad_c: Flat, made: Flat, old_c: Flat, seen: Flat) -> None:
    """From the gradients of h and c of a step to those before its four gates, and, in place, to that of the c before.

    ``made``: the gates and c, as they are kept. ``seen``: scratch, for tanh(c).
    """
    size = old_c.size
    enter, forget = made[:size], made[size : 2 * size]
    cell, leave = made[2 * size : 3 * size], made[3 * size : 4 * size]
    copy(seen, made[4 * size : 5 * size])
    tanh(seen)
    through_gate(grads[3 * size :], grad, seen, leave)
    add_through_tanh(grad_c, grad, leave, seen)
    through_gate(grads[:size], grad_c, cell, enter)
    through_gate(grads[size : 2 * size], grad_c, old_c, forget)
    through_tanh(grads[2 * size : 3 * size], grad_c, enter, cell)
    multiply(grad_c, forget)
