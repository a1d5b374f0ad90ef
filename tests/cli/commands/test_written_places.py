"""No command writes among what is something else: one line, exit code 2, before any work, nothing touched."""

from __future__ import annotations

from pathlib import Path

import pytest

from raybench.cli.app import run
from raybench.market.importing.job import import_bars
from raybench.market.sources import memory_source
from tests.market.small_market import market

OURS = {
    "a bars dataset": ["metadata.json", "bars/part-0.parquet", "calendar/c.parquet"],
    "a run": ["config.yaml", "manifest.json"],
    "a score table": ["date=2020-01-02/scores.parquet"],
    "a feature table": ["part-00000-abc.parquet", "../taken.manifest.json"],
    "Parquet files that raybench did not write": ["prices.parquet"],
    "an evaluation": ["metrics.json", "report.html"],
    "a demo": ["market/market.parquet", "bars/metadata.json"],
}
CONFIG = """
data:
  bars: bars
  universe: all
  segments: {train: [2014-03-03, 2014-07-31], valid: [2014-08-01, 2014-09-30], test: [2014-10-01, 2014-12-31]}
model: {type: gru}
"""
COMMANDS = {  # what the command may write into, and how it is typed
    "a bars dataset": ["import", "nowhere.csv", "--to"],
    "a feature table": ["features", "--bars", "bars", "--to"],
    "a run": ["adopt", "--weights", "nowhere.pt", "--config", "c.yaml", "--out"],
    "a demo": ["demo", "--out"],
    "a folder of runs": ["train", "c.yaml", "--seeds", "2", "--out"],
    "an evaluation": ["evaluate", "--scores", "nowhere", "--bars", "nowhere", "--out"],
}


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Path:
    room = tmp_path_factory.mktemp("room")
    import_bars(memory_source(market()), room / "bars")
    (room / "c.yaml").write_text(CONFIG)
    return room


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.mark.parametrize("wanted", COMMANDS)
@pytest.mark.parametrize("holds", [*OURS, "other files"])
def test_what_is_something_else_is_left_alone(
    room: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    wanted: str,
    holds: str,
) -> None:
    if holds == wanted or (holds == "other files" and wanted in ("a run", "a folder of runs", "an evaluation")):
        return  # these put their files beside a reader's notes
    monkeypatch.chdir(room)
    for name in OURS.get(holds, ["thesis.docx"]):
        (tmp_path / "taken" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "taken" / name).write_text(holds)
    before = contents(tmp_path)
    assert run([*COMMANDS[wanted], str(tmp_path / "taken")]) == 2
    *_, said = capsys.readouterr().err.splitlines()
    assert f"taken, which holds {holds}; want a new or empty folder, or {wanted} (change --" in said
    assert contents(tmp_path) == before
