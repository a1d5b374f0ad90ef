"""The feature job on Ray gives the very files it gives without, and its errors are those of the functions."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from raybench.cli.app import run
from raybench.cluster.jobs.features import write_features
from raybench.errors import UserError
from raybench.market.bars import open_bars
from raybench.market.importing.job import import_bars
from raybench.market.sources import memory_source
from tests.market.small_market import market

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("local_ray")]


@pytest.fixture
def bars(tmp_path: Path) -> str:
    return import_bars(memory_source(market(8, 700)), tmp_path / "bars").uri


def test_same_files_with_and_without_ray(bars: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("raybench.feature_sets.build.PART_BYTES", 1 << 20)  # several parts
    tables = {
        how: write_features(bars, "alpha158", tmp_path / how, end="2022-01-31", local=how == "here")
        for how in ("here", "ray")
    }
    assert tables["here"].parts == tables["ray"].parts
    assert len(tables["ray"].parts) > 2
    assert tables["here"].fingerprint == tables["ray"].fingerprint
    for part, file in zip(tables["ray"].parts, tables["ray"].files, strict=True):
        assert hashlib.sha256(Path(file).read_bytes()).hexdigest() == part.sha256


def test_an_error_of_the_user_comes_out_of_a_task_as_one(bars: str, tmp_path: Path) -> None:
    file = Path(bars) / open_bars(bars).files[0].name
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(UserError, match="is not a Parquet file, or was cut short"):
        write_features(bars, "alpha158", tmp_path / "f")


def test_the_command_says_what_it_made(bars: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["features", "--bars", bars, "--set", "alpha360", "--to", str(tmp_path / "f"), "--json", "--quiet"]
    summaries = []
    for _ in range(2):  # the second finds it there
        assert run(command) == 0
        summaries.append(json.loads(capsys.readouterr().out.splitlines()[-1]))
    assert summaries[0]["fingerprint"] == summaries[1]["fingerprint"]
    assert (summaries[0]["columns"], summaries[0]["instruments"]) == (360, 8)
    assert run([*command[:-4], str(tmp_path / "g"), "--instruments", "nobody"]) == 2
    assert capsys.readouterr().err.strip().splitlines()[-1].startswith("error: ")
    assert not (tmp_path / "g").exists()
