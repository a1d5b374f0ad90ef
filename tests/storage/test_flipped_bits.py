"""One bit that flips in a table that raybench wrote: it is told in one line, or what is read is what was written."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from raybench.errors import UserError
from raybench.feature_sets.build import build_features, plan_features
from raybench.feature_sets.table import open_features
from raybench.market.bars import open_bars
from raybench.scoring.members import read_members, write_members
from raybench.scoring.table import read_scores, scored_dates, write_date
from raybench.storage import parquet
from tests.panel.panel_market import market_frame, write_bars

DAY = "2020-01-02"


def of_features(folder: Path) -> list[Any]:
    table = open_features(folder / "features")
    return [*_bytes(table.read().to_pandas()), table.columns, table.label, table.fingerprint, table.instruments]


def of_scores(folder: Path) -> list[Any]:
    scores = str(folder / "scores")
    return [*_bytes(read_scores(scores)), scored_dates(scores)]


def of_members(folder: Path) -> list[Any]:
    found = read_members(str(folder / "scores"), [date.fromisoformat(DAY)], ["run"])
    assert found is not None
    return _bytes(found)


def of_bars(folder: Path) -> list[Any]:
    bars = open_bars(folder / "bars")
    return [bars.block().datetime_R.tolist(), {name: value.tolist() for name, value in bars.block().fields.items()}]


KINDS: dict[str, tuple[str, Callable[[Path], list[Any]], int]] = {
    "a part of a feature table": ("features/*.parquet", of_features, 211),
    "the manifest of a feature table": ("features.manifest.json", of_features, 37),
    "a date of a score table": ("scores/*/scores.parquet", of_scores, 7),
    "what the runs of an ensemble said": ("scores.members/*/*.parquet", of_members, 11),
    "a part of bars": ("bars/bars/*.parquet", of_bars, 23),
}
"""The files of each kind, how a reader takes them, and every which byte is tried."""


def _bytes(frame: pd.DataFrame) -> list[Any]:
    return [(name, frame[name].to_numpy().tolist()) for name in frame]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole")
    bars = write_bars(folder / "bars", market_frame(instruments=2, dates=pd.bdate_range("2020-01-01", periods=30)))
    build_features(plan_features(bars, ("alpha158",), str(folder / "features")))
    rng = np.random.default_rng(0)
    names = [f"SYN{number:04d}" for number in range(40)]
    scores = pd.DataFrame({"instrument": names, "datetime": pd.Timestamp(DAY), "score": rng.normal(size=40)})
    write_date(str(folder / "scores"), DAY, scores, "run", {"coverage": 0.5, "members": 80, "made_from": "a" * 16})
    runs = {"a": rng.normal(size=40), "b": rng.normal(size=40)}
    columns = {name: scores[name].to_numpy() for name in ("instrument", "datetime", "score")}
    write_members(str(folder / "scores"), date.fromisoformat(DAY), columns, runs, "run")
    return folder


@pytest.mark.parametrize("kind", KINDS)
def test_a_bit_that_flipped_is_told_or_changes_nothing(whole: Path, tmp_path: Path, kind: str) -> None:
    pattern, seen, step = KINDS[kind]
    copy = tmp_path / "copy"
    shutil.copytree(whole, copy)
    want = repr(seen(copy))
    file = sorted(copy.glob(pattern))[0]
    content = file.read_bytes()
    assert told_of_flips(file, range(0, len(content), step), lambda: seen(copy), want) > 10


def told_of_flips(file: Path, places: Iterable[int], seen: Callable[[], object], want: str) -> int:
    """How many flips, each alone, of a bit at ``places`` are told in one line; no other changes what is ``seen``."""
    content = file.read_bytes()
    told, silent = 0, []
    for at in places:
        flipped = bytearray(content)
        flipped[at] ^= 1 << at % 8
        file.write_bytes(flipped)
        try:
            if repr(seen()) != want:
                silent.append((at, len(content)))
        except UserError as error:
            told += "\n" not in str(error)
    assert not silent
    return told


def headers(file: Path) -> list[int]:
    """Where the bytes of page headers lie that no checksum of a page is of: behind the beginning of each."""
    metadata = pq.read_metadata(file)
    found = set()
    for group in range(metadata.num_row_groups):
        for column in range(metadata.num_columns):
            chunk = metadata.row_group(group).column(column)
            for begin in (chunk.dictionary_page_offset, chunk.data_page_offset):
                found |= set() if begin is None else set(range(begin, begin + 24))
    return sorted(found)


def test_so_it_is_in_a_part_that_is_larger_than_what_is_read_of_its_end(tmp_path: Path) -> None:
    """No hash is of all that is read of such a part: pages carry checksums, their headers do not."""
    dates = pd.bdate_range("2015-01-01", periods=600)
    write_bars(tmp_path / "bars", market_frame(instruments=24, dates=dates))
    file = max((tmp_path / "bars" / "bars").glob("*.parquet"), key=lambda each: each.stat().st_size)
    content = file.read_bytes()
    assert len(content) > 2 * parquet.TAIL_BYTES
    want = repr(of_bars(tmp_path))
    places = [*headers(file)[::2], *range(0, len(content), len(content) // 40)]
    assert told_of_flips(file, places, lambda: of_bars(tmp_path), want) > 40
