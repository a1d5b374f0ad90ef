"""What keeps figures of configurations from being of the same thing."""

from __future__ import annotations

from pathlib import Path

import pytest

from raybench.comparison.judging import differences
from tests.small import small_config

LABEL = "Ref($close, -6) / Ref($close, -1) - 1"


@pytest.mark.parametrize(
    ("key", "value", "says"),
    [
        ("data.label", LABEL, ("the labels differ", f"; b has {LABEL}")),
        ("data.universe", "all", ("the universes differ", "a has demo; b has all")),
        ("data.bars", "other", ("the data differ", "; b has ")),
    ],
)
def test_other_labels_universes_and_data_are_told(tmp_path: Path, key: str, value: str, says: tuple[str, str]) -> None:
    a = small_config(tmp_path / "bars")
    b = small_config(tmp_path / "bars", {key: value})
    assert differences({"a": a, "again": a}) == []
    (line,) = differences({"a": a, "b": b})
    assert all(part in line for part in says)


def test_other_test_dates_are_told_where_each_is_judged_on_its_own(tmp_path: Path) -> None:
    a = small_config(tmp_path / "bars")
    b = small_config(tmp_path / "bars", {"data.segments.test": ["2015-09-01", "2015-11-30"]})
    assert differences({"a": a, "b": b}) == []
    (line,) = differences({"a": a, "b": b}, tests=True)
    assert line.endswith("a has 2015-08-03 to 2015-11-30; b has 2015-09-01 to 2015-11-30")
