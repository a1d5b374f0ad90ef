"""From the gradients before the gates of one step to those of the weights, of the input and of the state before.

``grads``: [4, R, P]. An LSTM's four gates are those of its input and of its hidden state alike. A GRU has three: of its
new state the input's gradient comes third, the hidden state's fourth. Shapes otherwise as in ``fused.gru``.
"""

from __future__ import annotations

from raybench.feature_sets.compiled import compiled
from raybench.models.fused.elementwise import add_column_sums
from raybench.models.fused.products import Flat, product


@compiled
def add_to_weights(
    grad_in: Flat, grad_hidden: Flat, grad_bias: Flat, grads: Flat, x: Flat, h: Flat, gates: int, padded: int,
    wide: int, rows: int,
) -> None:  # fmt: skip
    """Add what a step's input x [R, Q] and the state before it h [R, P] met; the rows that are there count."""
    size = grads.size // 4
    for gate in range(gates):
        sums, grad = grad_in[gate * padded * wide :], grads[gate * size :]
        product(sums, wide, sums, wide, grad, 1, padded, x, wide, padded, wide, rows)
        sums, grad = grad_hidden[gate * padded * padded :], grads[_hidden(gate, gates) * size :]
        product(sums, padded, sums, padded, grad, 1, padded, h, padded, padded, padded, rows)
    for gate in range(4):
        add_column_sums(grad_bias[gate * padded : (gate + 1) * padded], grads[gate * size :], rows)


@compiled
def to_input(to: Flat, grads: Flat, weight_in: Flat, gates: int, padded: int, wide: int, hidden: int) -> None:
    """Set [R, Q], by the weights [gates, H, Q]."""
    size = grads.size // 4
    to[:] = 0
    for gate in range(gates):
        weight = weight_in[gate * hidden * wide :]
        product(to, wide, to, wide, grads[gate * size :], padded, 1, weight, wide, size // padded, wide, hidden)


@compiled
def to_state(to: Flat, grads: Flat, weight_hidden: Flat, gates: int, padded: int, hidden: int) -> None:
    """Add to [R, P], by the weights [gates, H, P]."""
    size = grads.size // 4
    for gate in range(gates):
        weight, grad = weight_hidden[gate * hidden * padded :], grads[_hidden(gate, gates) * size :]
        product(to, padded, to, padded, grad, padded, 1, weight, padded, size // padded, padded, hidden)


@compiled
def _hidden(gate: int, gates: int) -> int:
    """Which of the four gradients is that of the hidden state's part of a gate."""
    return gate if gates == 4 or gate < 2 else 3
