"""Arrow and NumPy over the buffers: as pyarrow itself converts, and without pandas."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pyarrow as pa
import pytest

from raybench.columns.arrow import from_array, from_texts, to_array

COLUMNS = [
    pa.array([1.5, None, 3.0], pa.float32()),
    pa.array([1, 2, 3], pa.int64()),
    pa.array([0, None, 86_400_000_000], pa.timestamp("us")),
    pa.array([0, 1], pa.timestamp("ns")),
    pa.array([], pa.float64()),
]


@pytest.mark.parametrize("column", COLUMNS, ids=lambda column: str(column.type))
def test_a_column_becomes_what_pyarrow_makes_of_it(column: pa.Array) -> None:
    expected = column.to_numpy(zero_copy_only=False)
    for given in (column, pa.chunked_array([column]), pa.chunked_array([column, column])[len(column) :]):
        found = to_array(given)
        assert found.dtype == expected.dtype
        np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(to_array(column[1:]), expected[1:])


def test_whole_numbers_have_no_value_for_a_null() -> None:
    with pytest.raises(ValueError, match="int64 has no value for the 1 nulls"):
        to_array(pa.array([1, None], pa.int64()))


def test_arrays_become_what_pyarrow_makes_of_them() -> None:
    when = np.array(["2020-01-02", "NaT"], "datetime64[us]")[:1]
    assert from_array(when, pa.timestamp("us")).equals(pa.array(when, pa.timestamp("us")))
    assert from_array(np.arange(6, dtype=np.float32)[::2], pa.float32()).equals(pa.array([0, 2, 4], pa.float32()))
    assert from_texts(["", "SH600000", "株"]).equals(pa.array(["", "SH600000", "株"]))
    assert from_texts([]).equals(pa.array([], pa.string()))


def test_a_date_is_scored_without_loading_what_it_does_not_need() -> None:
    """Ray, and pandas until somebody asks for a frame, would take longer than the scores."""
    heavy = "{'ray', 'pandas', 'matplotlib'}"
    code = f"import sys, raybench.cluster.jobs.scoring; sys.exit(' '.join({heavy} & set(sys.modules)) or 0)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
