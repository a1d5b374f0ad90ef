"""What a recurrent layer does to each number by itself, in loops that LLVM turns into vectors.

Each loop has few arrays, and works in place where it can: LLVM gives up on vectors where it would have to ask of too
many pairs of arrays whether they overlap. Flat arrays of equal length; NaN comes out where NaN goes in.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import types
from numba.extending import overload

from raybench.feature_sets.compiled import contracted
from raybench.models.fused.products import Array, Flat

_ONE, _HALF = np.float32(1.0), np.float32(0.5)
_END = np.float32(9.0)  # tanh is 1 from here on, in float32

# tanh(x) = x P(x^2) / Q(x^2) to 2.1e-8 of its value for |x| <= 9: a least-squares fit whose weights were raised where
# the error was largest until it was the same everywhere
_P0, _P1, _P2, _P3, _P4 = (
    np.float32(value) for value in (0.99999998, 0.133810214, 3.49558308e-3, 2.06090005e-5, 1.33545521e-8)
)
_Q1, _Q2, _Q3, _Q4 = (np.float32(value) for value in (0.46714337, 2.5876963e-2, 3.28562661e-4, 7.77651259e-7))


def _tanh(x: Any) -> Any:
    """Hyperbolic tangent of one number; within 4e-7 in float32 where it is compiled."""
    return math.tanh(x)


@overload(_tanh, inline="always")
def _tanh_of(x: Any) -> Any:
    def exact(x: Any) -> Any:
        return math.tanh(x)

    def rational(x: Any) -> Any:
        x = _END if x > _END else x
        x = -_END if x < -_END else x
        u = x * x
        p = (((_P4 * u + _P3) * u + _P2) * u + _P1) * u + _P0
        q = (((_Q4 * u + _Q3) * u + _Q2) * u + _Q1) * u + _ONE
        y = x * p / q
        y = _ONE if y > _ONE else y
        return -_ONE if y < -_ONE else y

    return exact if x == types.float64 else rational


@contracted
def tanh(x: Flat) -> None:
    """In place."""
    for i in range(x.size):
        x[i] = _tanh(x[i])


@contracted
def sigmoid(x: Flat) -> None:
    """In place: 1 / (1 + exp(-x)) = 1/2 + tanh(x / 2) / 2."""
    for i in range(x.size):
        x[i] = _HALF + _HALF * _tanh(_HALF * x[i])


@contracted
def add_product(to: Flat, x: Flat, y: Flat) -> None:
    """Add x y."""
    for i in range(to.size):
        to[i] += x[i] * y[i]


@contracted
def copy(to: Flat, x: Flat) -> None:
    """Set to x. numba's assignment of a slice asks for memory first, lest the two overlap."""
    for i in range(to.size):
        to[i] = x[i]


@contracted
def multiply(to: Flat, x: Flat) -> None:
    """Multiply with x."""
    for i in range(to.size):
        to[i] *= x[i]


@contracted
def set_product(to: Flat, x: Flat, y: Flat) -> None:
    """Set to x y."""
    for i in range(to.size):
        to[i] = x[i] * y[i]


@contracted
def mix(h: Flat, update: Flat, new: Flat) -> None:
    """The next state of a GRU, (1 - z) n + z h, in place of h."""
    for i in range(h.size):
        h[i] = new[i] + update[i] * (h[i] - new[i])


@contracted
def hold(value: Flat, mask: Flat, old: Flat) -> None:
    """Take a share of the old value, which is all or nothing in training: m old + (1 - m) value, in place of it."""
    for i in range(value.size):
        value[i] += mask[i] * (old[i] - value[i])


@contracted
def hold_update(update: Flat, mask: Flat) -> None:
    """What comes to the same in a GRU: an update gate of which the rest lets a share through, m + (1 - m) z."""
    for i in range(update.size):
        update[i] += mask[i] * (_ONE - update[i])


@contracted
def part(held: Flat, grad: Flat, mask: Flat) -> None:
    """Part a gradient, through ``hold``, into what goes to the old value and what is left to the new one."""
    for i in range(grad.size):
        held[i] = mask[i] * grad[i]
        grad[i] -= held[i]


@contracted
def add(to: Flat, x: Flat) -> None:
    """Add x."""
    for i in range(to.size):
        to[i] += x[i]


@contracted
def through_new(to: Flat, grad: Flat, update: Flat, new: Flat) -> None:
    """The gradient before the tanh of a GRU's new state: d (1 - z) (1 - n^2)."""
    for i in range(to.size):
        to[i] = grad[i] * (_ONE - update[i]) * (_ONE - new[i] * new[i])


@contracted
def through_update(to: Flat, grad: Flat, h: Flat, update: Flat, new: Flat) -> None:
    """The gradient before the sigmoid of a GRU's update gate: d (h - n) z (1 - z)."""
    for i in range(to.size):
        to[i] = grad[i] * (h[i] - new[i]) * (_ONE - update[i]) * update[i]


@contracted
def through_gate(to: Flat, grad: Flat, other: Flat, gate: Flat) -> None:
    """The gradient before a sigmoid, whose value was multiplied with another: d x s (1 - s)."""
    for i in range(to.size):
        to[i] = grad[i] * other[i] * (_ONE - gate[i]) * gate[i]


@contracted
def through_tanh(to: Flat, grad: Flat, gate: Flat, value: Flat) -> None:
    """The gradient before a tanh, whose value was multiplied with a gate: d s (1 - t^2)."""
    for i in range(to.size):
        to[i] = grad[i] * gate[i] * (_ONE - value[i] * value[i])


@contracted
def add_through_tanh(to: Flat, grad: Flat, gate: Flat, value: Flat) -> None:
    """``through_tanh``, added."""
    for i in range(to.size):
        to[i] += grad[i] * gate[i] * (_ONE - value[i] * value[i])


@contracted
def take(to: Flat, stride: int, at: int, from_NWK: Array, first: int, rows: int, t: int) -> None:
    """Copy step ``t`` of rows ``first`` and following to ``at`` and every ``stride`` on."""
    for i in range(rows):
        row, place = from_NWK[first + i, t], to[i * stride + at : i * stride + at + from_NWK.shape[2]]
        for j in range(row.size):
            place[j] = row[j]


@contracted
def add_taken(to: Flat, stride: int, from_NWK: Array, first: int, rows: int, t: int) -> None:
    """As ``take``, added."""
    for i in range(rows):
        row, place = from_NWK[first + i, t], to[i * stride : i * stride + from_NWK.shape[2]]
        for j in range(row.size):
            place[j] += row[j]


@contracted
def give(to_NWK: Array, first: int, rows: int, t: int, values: Flat, stride: int) -> None:
    """Copy the other way round."""
    for i in range(rows):
        row, place = to_NWK[first + i, t], values[i * stride : i * stride + to_NWK.shape[2]]
        for j in range(row.size):
            row[j] = place[j]


@contracted
def shift(to: Flat, stride: int, at: int, values: Flat, from_stride: int, rows: int, width: int) -> None:
    """Copy rows of ``width`` that lie ``from_stride`` apart to ``at`` and every ``stride`` on."""
    for i in range(rows):
        place, row = to[i * stride + at : i * stride + at + width], values[i * from_stride : i * from_stride + width]
        for j in range(width):
            place[j] = row[j]


@contracted
def add_column_sums(to: Flat, values: Flat, rows: int) -> None:
    """Add the sum over rows of a matrix as wide as ``to``."""
    for i in range(rows):
        row = values[i * to.size : (i + 1) * to.size]
        for j in range(to.size):
            to[j] += row[j]
