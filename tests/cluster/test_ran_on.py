"""A command says where its work was done, once in words and once in its summary."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from raybench.cli.app import run as command
from raybench.cluster import ran_on


def test_each_place_is_heard_of_once_and_said_once() -> None:
    lines: list[str] = []
    notes: Any = SimpleNamespace(note=lines.append)
    with ran_on.heard() as outer:
        ran_on.here(notes)
        ran_on.here(notes)
        with ran_on.heard() as inner:
            ran_on.at(ran_on.joined_at("10.0.0.1:6379"))
        ran_on.at(ran_on.OWN)
    ran_on.here(notes)
    assert outer == [ran_on.HERE, ran_on.OWN]
    assert inner == ["the Ray cluster at 10.0.0.1:6379"]
    assert lines == ["in this process, without Ray"] * 2  # the second one is nobody's


@pytest.fixture
def no_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)


@pytest.mark.usefixtures("no_cluster")
def test_what_this_process_does_is_said(
    run: str, market_bars: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bars = ["--bars", market_bars, "--local", "--json"]
    day = "2015-12-30"
    lines = (
        ["features", *bars, "--set", "alpha158", "--to", str(tmp_path / "features"), "--start", "2015-12-01"],
        ["score", *bars, "--model", run, "--to", str(tmp_path / "scores"), "--start", day],
        ["explain", *bars, "--model", run, "--date", day, "--out", str(tmp_path / "out"), "--repeats", "1"],
    )
    for line in lines:
        assert command(line) == 0
        told = capsys.readouterr()
        assert json.loads(told.out.splitlines()[-1])["ran_on"] == "this process", line[0]
        assert told.err.splitlines().count("in this process, without Ray") == 1
    assert command(lines[0]) == 0  # it is there, and nothing was done
    assert "ran_on" not in json.loads(capsys.readouterr().out.splitlines()[-1])


@pytest.mark.ray
@pytest.mark.usefixtures("local_ray")
def test_a_cluster_that_was_started_for_it_is_said(
    market_bars: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = ["features", "--bars", market_bars, "--set", "alpha158", "--to", str(tmp_path / "features"), "--ray"]
    assert command([*line, "--start", "2015-12-01", "--json"]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["ran_on"] == ran_on.OWN
