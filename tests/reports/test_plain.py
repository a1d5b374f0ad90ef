"""Values as JSON knows them: the one way that summaries, reports and figures of a run take."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from raybench.reports.plain import plain, records

NAN = float("nan")


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ({"nan": NAN, "inf": -float("inf"), "x": 0.5}, {"nan": None, "inf": None, "x": 0.5}),
        ([np.float32("nan"), np.float64("inf"), np.float32(0.5)], [None, None, 0.5]),
        ((np.int64(3), np.bool_(True), None, True), [3, True, None, True]),
        (np.array([[1.0, np.inf]]), [[1.0, None]]),
        ({1: {2, 1}}, {"1": [1, 2]}),
        ([pd.Timestamp("2020-01-02 09:30"), date(2020, 1, 2)], ["2020-01-02T09:30:00", "2020-01-02"]),
        ([Path("x"), b"y"], ["x", "b'y'"]),
    ],
)
def test_only_what_json_has(given: Any, wanted: Any) -> None:
    assert plain(given) == wanted
    json.dumps(plain(given), allow_nan=False)


def test_a_table_is_lists_by_column() -> None:
    assert plain(records(pd.DataFrame({"a": [1.0, NAN], 2: ["x", "y"]}))) == {"a": [1.0, None], "2": ["x", "y"]}
