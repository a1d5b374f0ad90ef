"""Products of small matrices inside compiled code, a block of the result in registers: C = S + A B.

numba's own product calls a BLAS, whose threads and whose cost of a call are too much for a step of a recurrent layer,
and LLVM finds no good code for three nested loops. So the innermost block is given to LLVM as vectors: ``ROWS`` rows of
C times ``LANES * VECTORS`` columns stay in registers while a row of B after the other goes by. Any processor can run
it: vectors that it lacks are made of shorter ones.

Matrices lie in flat arrays and are told by strides, so that a transposed A costs nothing. NaN and inf spread as in
any sum of products.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils as _cgutils
from numba.extending import intrinsic
from numpy.typing import NDArray

from raybench.feature_sets.compiled import compiled
from raybench.models.fused.blocks import LANES, ROWS, VECTORS

Flat = NDArray[np.float32]
"""A matrix or several in one piece, float32 or float64."""
Array = NDArray[Any]
"""float32 or float64 in C's order."""
WIDE = LANES * VECTORS
_INT = ir.IntType(64)
cgutils: Any = _cgutils


def _block(columns: int) -> Any:
    """Make the function that computes a block of C, ``ROWS`` times ``columns``, from the strides of all four."""

    def typed(_: Any, c: Any, c0: Any, ldc: Any, s: Any, s0: Any, lds: Any, a: Any, a0: Any, si: Any, sk: Any, b: Any,
              b0: Any, ldb: Any, depth: Any) -> Any:  # fmt: skip
        whole = types.intp
        signature = types.void(c, whole, whole, s, whole, whole, a, whole, whole, whole, b, whole, whole, whole)
        return signature, lambda context, builder, sig, args: _emit(context, builder, sig, args, columns)

    return intrinsic(typed)


def _emit(context: Any, builder: Any, signature: Any, args: Any, columns: int) -> Any:
    """Write the block in LLVM's language."""
    c, c0, ldc, s, s0, lds, a, a0, si, sk, b, b0, ldb, depth = args
    bits = signature.args[0].dtype.bitwidth
    lanes = LANES * 32 // bits
    vector = ir.VectorType(context.get_value_type(signature.args[0].dtype), lanes)
    fma = cgutils.get_or_insert_function(
        builder.module, ir.FunctionType(vector, [vector] * 3), f"llvm.fmuladd.v{lanes}f{bits}"
    )

    def start(number: int, array: Any, offset: Any) -> Any:
        return builder.gep(context.make_array(signature.args[number])(context, builder, array).data, [offset])

    def vectors(row: Any) -> list[Any]:
        places = [builder.gep(row, [_INT(v * lanes)]) for v in range(columns // lanes)]
        return [builder.bitcast(place, vector.as_pointer()) for place in places]

    def row_of(matrix: Any, number: Any, stride: Any) -> Any:
        return builder.gep(matrix, [builder.mul(number, stride)])

    def load(place: Any) -> Any:
        return builder.load(place, align=bits // 8)

    first_a, first_b = start(6, a, a0), start(10, b, b0)
    sums = [
        [cgutils.alloca_once_value(builder, load(place)) for place in vectors(row_of(start(3, s, s0), _INT(i), lds))]
        for i in range(ROWS)
    ]
    everywhere = ir.Constant(ir.VectorType(ir.IntType(32), lanes), [0] * lanes)
    nothing = ir.Constant(vector, ir.Undefined)
    with cgutils.for_range(builder, depth, intp=_INT) as loop:
        row_b = [load(place) for place in vectors(row_of(first_b, loop.index, ldb))]
        column_a = row_of(first_a, loop.index, sk)
        for i in range(ROWS):
            one = builder.insert_element(nothing, builder.load(row_of(column_a, _INT(i), si)), ir.IntType(32)(0))
            spread = builder.shuffle_vector(one, nothing, everywhere)
            for total, value in zip(sums[i], row_b, strict=True):
                builder.store(builder.call(fma, [spread, value, builder.load(total)]), total)
    for i in range(ROWS):
        for total, place in zip(sums[i], vectors(row_of(start(0, c, c0), _INT(i), ldc)), strict=True):
            builder.store(builder.load(total), place, align=bits // 8)
    return context.get_dummy_value()


_wide, _narrow = _block(WIDE), _block(LANES)


@compiled
def product(
    c: Flat, ldc: int, s: Flat, lds: int, a: Flat, si: int, sk: int, b: Flat, ldb: int, rows: int, columns: int,
    depth: int,
) -> None:  # fmt: skip
    """C = S + A B: ``rows`` (of ``ROWS``) times ``columns`` (of ``LANES``), summed over ``depth``.

    ``ldc``, ``lds``, ``ldb``: from one row to the next; an S whose ``lds`` is 0 is one row for all; S may be C.
    ``si``, ``sk``: from one row of A, and from one of its columns, to the next.
    """
    wide = columns - columns % WIDE
    for i in range(0, rows, ROWS):
        for j in range(0, wide, WIDE):
            _wide(c, i * ldc + j, ldc, s, i * lds + j, lds, a, i * si, si, sk, b, j, ldb, depth)
        if wide < columns:
            j = wide
            _narrow(c, i * ldc + j, ldc, s, i * lds + j, lds, a, i * si, si, sk, b, j, ldb, depth)
