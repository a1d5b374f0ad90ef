"""A morning's work and a look at its table, in Python."""

from __future__ import annotations

from pathlib import Path

import pytest

import raybench
from raybench.errors import ConfigError, DataError
from raybench.scoring.table import write_date


def test_status_of_a_table(tmp_path: Path) -> None:
    columns = {"instrument": ["A", "B"], "datetime": ["2020-01-02"] * 2, "score": [1.0, 2.0]}
    write_date(str(tmp_path / "scores"), "2020-01-02", columns, "r", {"members": 3})  # type: ignore[arg-type]
    found = raybench.status(tmp_path / "scores", start="2020-01-01")
    assert (str(found.newest), found.run_id, found.whole) == ("2020-01-02", "r", True)
    assert repr(found).startswith(f"<{tmp_path}/scores: up to date: dates 1, newest 2020-01-02")
    with pytest.raises(DataError, match="start= is 'soon'"):
        raybench.status(tmp_path / "scores", start="soon")


def test_errors_of_daily_name_the_key(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"score\.to: is required"):
        raybench.daily({"bars": "b", "score": {"model": "r"}})
    (tmp_path / "daily.yaml").write_text("bars: b\nscore: {model: r, to: s, min_coverage: x}\n")
    with pytest.raises(ConfigError, match=r"daily\.yaml:2: score\.min_coverage: want a number"):
        raybench.daily(tmp_path / "daily.yaml")
