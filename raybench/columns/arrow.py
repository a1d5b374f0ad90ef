"""Arrow columns as NumPy arrays and back, over the buffers themselves.

pyarrow's own ``to_numpy``, ``array`` and ``scalar`` load pandas wherever it is installed, which takes longer than
the scores of a date. NaN rule: a null is NaN among floats and NaT among points in time.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray


def to_array(column: Any) -> NDArray[Any]:
    """Numbers, or points in time as datetime64, of an Arrow column; without a copy where it lies in one piece."""
    array = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    kind = array.type
    timed = pa.types.is_timestamp(kind)
    dtype = np.dtype(f"datetime64[{kind.unit}]" if timed else kind.to_pandas_dtype())
    if not len(array):
        return np.empty(0, dtype)
    validity, data = array.buffers()
    values: NDArray[Any] = np.frombuffer(data, dtype)[array.offset : array.offset + len(array)]
    if not array.null_count:
        return values
    if not timed and dtype.kind != "f":
        raise ValueError(f"{kind} has no value for the {array.null_count} nulls")
    bits = np.unpackbits(np.frombuffer(validity, np.uint8), bitorder="little")
    missing = np.array("NaT" if timed else "nan", dtype)
    return np.where(bits[array.offset : array.offset + len(array)].astype(bool), values, missing)


def from_array(values: NDArray[Any], kind: Any) -> Any:
    """An Arrow array of ``kind``, whose values have the bytes that the array's have."""
    values = np.ascontiguousarray(values)
    return pa.Array.from_buffers(kind, len(values), [None, pa.py_buffer(values)])


def from_texts(texts: Sequence[str]) -> Any:
    """An Arrow array of strings."""
    parts = [text.encode() for text in texts]
    offsets = np.cumsum([0, *map(len, parts)]).astype(np.int32)
    return pa.Array.from_buffers(pa.string(), len(parts), [None, pa.py_buffer(offsets), pa.py_buffer(b"".join(parts))])
