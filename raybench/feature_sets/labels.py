"""Labels: a parsed label expression computed on bars.

Shapes: R rows of a block, L rows of one instrument.
NaN rule: a label is NaN where any of its bars is missing, before the first bar or after the last.
Element-wise arithmetic stays float32 and rolling statistics are float64, as in Qlib; the label is float32.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from raybench.config.data.label import (
    Arithmetic,
    Field,
    LabelExpression,
    Negate,
    Node,
    Number,
    Ref,
    Rolling,
    ValueFunction,
)
from raybench.errors import DataError
from raybench.feature_sets.series import shift
from raybench.market.bars import BarBlock

Array = NDArray[Any]

_OPERATORS: Mapping[str, Callable[[Any, Any], Any]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
}
_ELEMENTWISE: Mapping[str, Callable[[Any], Any]] = {"Log": np.log, "Abs": np.abs}
_ROLLING: Mapping[str, Callable[[Any, Array, Array], Array]] = {
    "Mean": lambda rolling, x, w: rolling.moments(x, w)[0],
    "Std": lambda rolling, x, w: rolling.moments(x, w)[1],
    "Sum": lambda rolling, x, w: rolling.total(x, w),
    "Max": lambda rolling, x, w: rolling.maximum(x, w),
    "Min": lambda rolling, x, w: -rolling.maximum(-x, w),
}


def compute(block: BarBlock, label: LabelExpression) -> NDArray[np.float32]:
    """Compute the label [R] of every row of ``block``."""
    missing = [field for field in label.fields if field not in block.fields]
    if missing:
        known = ", ".join(block.fields)
        raise DataError(f"label {label.text!r} reads ${missing[0]}, but the bars' fields are {known}")
    out_R = np.empty(len(block.datetime_R), np.float32)
    for i in range(len(block.instruments)):
        rows = slice(int(block.start_N1[i]), int(block.start_N1[i + 1]))
        with np.errstate(all="ignore"):  # a zero price is an inf label, which is for the processors to judge
            out_R[rows] = _value(label.root, {field: block.fields[field][rows] for field in label.fields})
    return out_R


def _value(node: Node, fields: Mapping[str, Array]) -> Array | float:
    match node:
        case Field(name):
            return fields[name]
        case Number(value):
            return value
        case Negate(x):
            negated: Array | float = -_value(x, fields)
            return negated
        case Arithmetic(sign, left, right):
            joined: Array | float = _OPERATORS[sign](_value(left, fields), _value(right, fields))
            return joined
        case ValueFunction(name, x):
            mapped: Array | float = _ELEMENTWISE[name](_value(x, fields))
            return mapped
        case Ref(x, n):
            return shift(_series(x, fields), n)
        case Rolling(name, x, n):
            from raybench.feature_sets import rolling  # compiled, which most labels do without

            series_L = np.ascontiguousarray(_series(x, fields), np.float32)
            window_L: Array = _ROLLING[name](rolling, series_L, np.array([n]))[0]
            return window_L


def _series(node: Node, fields: Mapping[str, Array]) -> Array:
    """The value of ``node`` as a series, a number repeated on every row."""
    value = _value(node, fields)
    rows = len(next(iter(fields.values())))
    return value if isinstance(value, np.ndarray) and value.ndim else np.full(rows, value, np.float32)
