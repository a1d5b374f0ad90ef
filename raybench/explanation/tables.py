"""An explanation as tables: one row a number, plain columns.

    instruments.parquet    instrument, score, label (null where there is none): everybody of the date
    hidden_states.parquet  layer, instrument, step, unit, value
    correlation.parquet    layer, step, other_step, correlation: of the hidden states of two steps
    gates.parquet          layer, gate, instrument, step, value: mean over the units
    gate_units.parquet     layer, gate, instrument, step, unit, value: only for instruments that are named
    attention.parquet      source, instrument, other, from_step, step, place, weight: null where it has no such axis
    gradients.parquet      instrument, step, feature, value, input: d score / d input, and the input itself
    importance.parquet     kind (feature, lag), name, index, measure, repeats, dates, mean, std, score_change

``step`` counts the rows of a window from the oldest, 0; lag = step_len - 1 - step, so lag 0 is the date itself.
Where instruments are named, all but instruments, correlation and importance hold only those.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from torch import Tensor

from raybench.explanation.explanation import Explanation
from raybench.explanation.trace import FROM_STEP, INSTRUMENT, OTHER, PLACE, STEP, Attention

FILES = (
    "instruments.parquet",
    "hidden_states.parquet",
    "correlation.parquet",
    "gates.parquet",
    "gate_units.parquet",
    "attention.parquet",
    "gradients.parquet",
    "importance.parquet",
)
Labels = Sequence[str] | NDArray[np.str_]
_SOURCE_COLUMNS = (INSTRUMENT, OTHER, FROM_STEP, STEP, PLACE)


def tables_of(explanation: Explanation, instruments: Sequence[str] = ()) -> Iterator[tuple[str, pa.Table]]:
    """Make each table that this explanation has, by its file's name."""
    take = explanation.places_of(instruments)
    names = explanation.instrument_N[take]
    yield "instruments.parquet", _scores(explanation)
    if explanation.hidden:
        yield "hidden_states.parquet", _hidden(explanation, take, names)
        yield "correlation.parquet", _correlation(explanation)
    if explanation.gates:
        yield "gates.parquet", _gates(explanation, take, names, units=False)
    if explanation.gates and len(instruments):
        yield "gate_units.parquet", _gates(explanation, take, names, units=True)
    if explanation.attention:
        parts = [
            _attention(name, attention, explanation.instrument_N, take)
            for name, attention in explanation.attention.items()
        ]
        yield "attention.parquet", pa.concat_tables(parts)
    if explanation.gradient_NWF is not None:
        yield "gradients.parquet", _gradients(explanation, explanation.gradient_NWF, take, names)
    yield "importance.parquet", pa.Table.from_pandas(explanation.importance.table, preserve_index=False)


def long_table(
    value: NDArray[Any], axes: Mapping[str, Labels | None], fixed: Mapping[str, str] | None = None, name: str = "value"
) -> pa.Table:
    """Lay an array below itself: a column for each axis (its labels, or the index), then the float32 value."""
    columns: dict[str, Any] = {
        key: pa.array([text], pa.string()).take(pa.array(np.zeros(value.size, np.int8)))
        for key, text in (fixed or {}).items()
    }
    for dimension, (key, labels) in enumerate(axes.items()):
        shape = [-1 if i == dimension else 1 for i in range(value.ndim)]
        place = np.broadcast_to(np.arange(value.shape[dimension], dtype=np.int32).reshape(shape), value.shape).ravel()
        taken = pa.array(place)
        columns[key] = taken if labels is None else pa.array(list(map(str, labels)), pa.string()).take(taken)
    columns[name] = pa.array(np.ascontiguousarray(value, dtype=np.float32).ravel())
    return pa.table(columns)


def _scores(explanation: Explanation) -> pa.Table:
    label_N = explanation.label_N
    return pa.table(
        {
            "instrument": pa.array(list(map(str, explanation.instrument_N)), pa.string()),
            "score": pa.array(explanation.score_N.astype(np.float32)),
            "label": pa.array(label_N.astype(np.float32), mask=np.isnan(label_N)),
        }
    )


def _hidden(explanation: Explanation, take: NDArray[np.int64], names: Labels) -> pa.Table:
    axes = {"instrument": names, "step": None, "unit": None}
    return pa.concat_tables(
        long_table(h_NWH.numpy()[take], axes, {"layer": layer}) for layer, h_NWH in explanation.hidden.items()
    )


def _correlation(explanation: Explanation) -> pa.Table:
    axes: dict[str, Labels | None] = {"step": None, "other_step": None}
    return pa.concat_tables(
        long_table(value_WW, axes, {"layer": layer}, "correlation")
        for layer, value_WW in explanation.correlation.items()
    )


def _gates(explanation: Explanation, take: NDArray[np.int64], names: Labels, *, units: bool) -> pa.Table:
    axes: dict[str, Labels | None] = {"instrument": names, "step": None}
    if units:
        axes["unit"] = None
    return pa.concat_tables(
        long_table(_per_unit(gate_NWH, take, units=units), axes, {"layer": layer, "gate": gate})
        for layer, found in explanation.gates.items()
        for gate, gate_NWH in found.gates.items()
    )


def _per_unit(gate_NWH: Tensor, take: NDArray[np.int64], *, units: bool) -> NDArray[Any]:
    chosen: NDArray[Any] = gate_NWH.numpy()[take]
    return chosen if units else chosen.mean(axis=2)


def _attention(source: str, attention: Attention, everybody: NDArray[np.str_], take: NDArray[np.int64]) -> pa.Table:
    order = [INSTRUMENT, *(axis for axis in attention.axes if axis != INSTRUMENT)]
    weight = attention.weight.permute([attention.axes.index(axis) for axis in order]).numpy()[take]
    labels = {INSTRUMENT: everybody[take], OTHER: everybody}
    made = long_table(weight, {axis: labels.get(axis) for axis in order}, {"source": source}, "weight")
    kinds = {INSTRUMENT: pa.string(), OTHER: pa.string()}
    columns = {
        axis: made[axis] if axis in order else pa.nulls(made.num_rows, kinds.get(axis, pa.int32()))
        for axis in _SOURCE_COLUMNS
    }
    return pa.table({"source": made["source"], **columns, "weight": made["weight"]})


def _gradients(explanation: Explanation, gradient_NWF: Tensor, take: NDArray[np.int64], names: Labels) -> pa.Table:
    axes = {"instrument": names, "step": None, "feature": explanation.features}
    made = long_table(gradient_NWF.numpy()[take], axes)
    x_NWF: NDArray[Any] = explanation.x_NWF.numpy()[take]
    return made.append_column("input", pa.array(np.ascontiguousarray(x_NWF, np.float32).ravel()))
