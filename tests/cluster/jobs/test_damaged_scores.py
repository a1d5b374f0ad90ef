"""A date of a score table that is damaged: the line says which command scores it again, and that one does."""

from __future__ import annotations

import shlex
import shutil
from pathlib import Path

import pytest

from raybench.cli.app import run as command
from raybench.errors import DataError
from raybench.scoring.table import date_uri, dates, read_scores
from raybench.storage import parquet

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("damage", ["a bit", "cut", "empty"])
def test_following_the_line_scores_it_again(
    run: str, market_bars: str, whole: str, tmp_path: Path, damage: str
) -> None:
    to = tmp_path / "scores"
    shutil.copytree(whole, to)
    file = Path(date_uri(str(to), dates(str(to))[-1]))
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes({"a bit": bytes(data), "cut": data[:-20], "empty": b""}[damage])
    with pytest.raises(DataError, match=r"scores\.parquet: .*; raybench score --overwrite --start") as told:
        read_scores(str(to))
    _, _, line = str(told.value).rpartition("; raybench ")
    words = shlex.split(line.removesuffix(" scores it again"))
    assert command([*words, "--model", run, "--bars", market_bars, "--to", str(to), "--local", "-q"]) == 0
    assert parquet.read_schema(file) == parquet.read_schema(date_uri(whole, dates(whole)[-1]))
    assert read_scores(str(to)).equals(read_scores(whole))
