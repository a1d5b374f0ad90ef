"""Calls spread over Ray: in order, not more at once than there is room for, errors as they were raised."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from raybench.config import ProcessorSpec
from raybench.errors import DataError
from raybench.processors.base import Processor
from raybench.processors.by_date import ByDate
from raybench.processors.column import Rows
from raybench.processors.fitted import make_processor
from raybench.processors.table import ArrayColumns

pytestmark = [pytest.mark.slow, pytest.mark.ray]


@pytest.fixture
def spread(local_ray: None) -> Any:
    from raybench.cluster.fanout import fanout

    return fanout


def test_results_come_in_order(spread: Any) -> None:
    assert list(spread(lambda x: x * x, range(20))) == [x * x for x in range(20)]
    assert list(spread(str, [])) == []


def test_no_more_is_drawn_than_there_is_room_for(spread: Any) -> None:
    """Four CPUs and two that wait, and one more for each result that was taken."""
    drawn: list[int] = []

    def items() -> Iterator[int]:
        for item in range(100):
            drawn.append(item)
            yield item

    results = spread(lambda x: np.full(1000, x), items())
    assert drawn == []
    taken = [int(next(results)[0]) for _ in range(3)]
    assert taken == [0, 1, 2]
    assert len(drawn) == 6 + 3
    results.close()
    assert len(drawn) == 9


def test_a_user_error_comes_out_as_itself(spread: Any, tmp_path: Path) -> None:
    def work(item: int) -> int:
        (tmp_path / str(item)).touch()
        if item == 2:
            raise DataError("two is not a number here")
        return item

    results = spread(work, range(500))
    assert [next(results), next(results)] == [0, 1]
    with pytest.raises(DataError, match="two is not a number here"):
        next(results)
    assert len(list(tmp_path.iterdir())) < 50


def made(name: str, kwargs: dict[str, Any]) -> Processor:
    return make_processor(ProcessorSpec.model_validate({"class": name, "kwargs": kwargs}))


@pytest.mark.parametrize("given", [False, True], ids=["fitted", "given"])
def test_columns_are_processed_alike(spread: Any, given: bool) -> None:
    """Bit for bit, whoever does it: a table of more columns than one task takes."""
    rng = np.random.default_rng(0)
    values = rng.standard_normal((400, 37)).astype(np.float32)
    values[rng.random(values.shape) < 0.05] = np.nan
    names = tuple(f"c{i}" for i in range(values.shape[1]))
    dates = np.arange("2020-01-01", "2020-02-10", dtype="datetime64[D]").astype("datetime64[us]")
    rows = Rows(
        dates=dates,
        by_date=ByDate(date_R=np.repeat(np.arange(40, dtype=np.int32), 10), num_dates=40),
        fit_range=(np.datetime64("2020-01-01"), np.datetime64("2020-01-20")),
    )
    steps: list[Processor] = [
        made("RobustZScoreNorm", {"fields_group": "feature", "clip_outlier": True}),
        made("CSRankNorm", {"fields_group": "feature"}),
        made("Fillna", {"fields_group": "feature"}),
    ]
    here = ArrayColumns(columns=names, feature_MF=values.copy())
    there = ArrayColumns(columns=names, feature_MF=values.copy(), run=spread)
    params = here.process(steps, rows, None).params
    found = there.process(steps, rows, params if given else None)
    np.testing.assert_array_equal(found.table.feature_MF, here.feature_MF)
    for one, other in zip(found.params, params, strict=True):
        np.testing.assert_array_equal(one, other)
