"""The names of the feature sets are the columns Qlib makes, in its order."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from raybench.config.data.alpha_names import ALPHA158_NAMES, ALPHA360_NAMES, BENCHMARK_20

pytestmark = pytest.mark.shared


@pytest.mark.parametrize(("table", "names"), [("alpha158", ALPHA158_NAMES), ("alpha360", ALPHA360_NAMES)])
def test_columns_of_qlibs_tables(shared: Path, table: str, names: tuple[str, ...]) -> None:
    columns = pq.read_schema(shared / "oracle" / "features" / f"{table}_raw.parquet").names
    assert tuple(name for name in columns if name in set(names)) == names


def test_columns_of_the_benchmark(shared: Path) -> None:
    meta = json.loads((shared / "oracle" / "features" / "features_meta.json").read_text())
    assert tuple(meta["columns"]) == BENCHMARK_20
