"""Which runs there are below a folder: every one, as what it is."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from raybench.cli.app import run
from raybench.errors import DataError
from raybench.runs.artifact import begin_run
from raybench.runs.listing import list_runs
from tests.runs.test_artifact import config, write

Captured = pytest.CaptureFixture[str]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A finished run, one whose metrics were changed, one that was begun, and things that are no runs."""
    write(tmp_path / "a")
    write(tmp_path / "deep" / "seed-4", seed=4)
    shutil.copytree(tmp_path / "a", tmp_path / "bad")
    (tmp_path / "bad" / "metrics.json").write_text("{}")
    begin_run(str(tmp_path / "begun"), config(7))
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "config.yaml").write_text("data: {bars: x}")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "manifest.json").write_text('{"of": "something else"}')
    return tmp_path


def evaluation(at: Path, run_id: str, rank_ic: float | None, *, made: str = "2026-01-01", **inputs: Any) -> None:
    at.mkdir()
    metrics = {"Rank IC": rank_ic, "Rank IC standard error": 0.01}
    told = {"inputs": {"Run": f"/runs/x ({run_id})", "Made": made, **inputs}, "metrics": metrics}
    (at / "report.json").write_text(json.dumps(told))


def test_every_run_and_nothing_else(folder: Path) -> None:
    found = {row.run: row for row in list_runs(str(folder))}
    assert {name: row.state for name, row in found.items()} == {
        "a": "finished",
        "deep/seed-4": "finished",
        "bad": "damaged",
        "begun": "unfinished",
    }
    a = found["a"]
    assert (a.network, a.features, a.seed, a.epochs, a.valid_rank_ic) == ("gru", "alpha158, 2", 3, 3, 0.2)
    assert (found["begun"].seed, found["begun"].epochs, found["begun"].valid_rank_ic) == (7, 0, None)
    assert "metrics.json" in (found["bad"].problem or "")


def test_the_test_is_of_an_evaluation_of_that_run_alone(folder: Path) -> None:
    run_id = next(row.run_id for row in list_runs(str(folder)) if row.run == "a")
    assert run_id is not None
    evaluation(folder / "e1", run_id, 0.03, made="2026-01-01")
    evaluation(folder / "e2", run_id, 0.05, made="2026-02-01")
    evaluation(folder / "e3", run_id, 0.09, made="2026-03-01", **{"Run 2": "another"})
    evaluation(folder / "e4", "0" * 16, 0.09)
    (folder / "e5").mkdir()
    (folder / "e5" / "report.json").write_text("[[")
    found = {row.run: row for row in list_runs(str(folder))}
    assert (found["a"].test_rank_ic, found["a"].test_rank_ic_error) == (0.05, 0.01)
    assert found["deep/seed-4"].test_rank_ic is None


def test_seeds_that_were_evaluated_as_one_have_a_line(tmp_path: Path, capsys: Captured) -> None:
    for seed in (4, 5):
        write(tmp_path / "gru" / f"seed-{seed}", seed=seed)
    ids = [str(row.run_id) for row in list_runs(str(tmp_path))]
    evaluation(tmp_path / "gru-evaluation", ids[0], 0.06, **{"Run 2": f"/runs/y ({ids[1]})"})
    evaluation(tmp_path / "one", ids[0], 0.03)
    evaluation(tmp_path / "other", ids[0], 0.09, **{"Run 2": f"/runs/y ({'0' * 16})"})
    found = {row.run: row for row in list_runs(str(tmp_path))}
    assert list(found) == ["gru", "gru/seed-4", "gru/seed-5"]
    assert (found["gru"].seeds, found["gru"].seed, found["gru"].test_rank_ic) == (2, None, 0.06)
    assert [found[f"gru/seed-{seed}"].test_rank_ic for seed in (4, 5)] == [0.03, None]
    assert next((row.run, row.test_rank_ic) for row in list_runs(str(tmp_path / "gru"))) == ("gru", 0.06)
    assert run(["runs", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert out.startswith(f"2 runs in {tmp_path}")
    assert any(line.startswith("gru ") and " all 2 " in line and "0.0600 ± 0.0100" in line for line in out.split("\n"))


@pytest.mark.parametrize("content", [b"", b'{"run_id": "ab', b"[1]", b"3", b"[" * 100_000, b"\xff\xfe"])
@pytest.mark.parametrize("missing", ["", "config.yaml"])
def test_a_damaged_manifest_is_named_and_the_others_are_listed(
    folder: Path, content: bytes, missing: str, capsys: Captured
) -> None:
    (folder / "a" / "manifest.json").write_bytes(content)
    if missing:
        (folder / "a" / missing).unlink()
    assert run(["runs", str(folder)]) == 0
    out, err = capsys.readouterr()
    assert out.startswith("4 runs in")
    assert [line for line in err.splitlines() if f"{folder}/a/manifest.json" in line]


def test_a_report_that_cannot_be_read_is_named(folder: Path, capsys: Captured) -> None:
    evaluation(folder / "e1", "0" * 16, 0.03)
    report = folder / "e1" / "report.json"
    report.write_bytes(report.read_bytes()[:20])
    assert run(["runs", str(folder)]) == 0
    assert f"warning: {report}: cannot be read" in capsys.readouterr().err


def test_a_run_alone_has_its_evaluation_beside_it(folder: Path) -> None:
    run_id = list_runs(str(folder / "a"))[0].run_id
    assert run_id is not None
    evaluation(folder / "a-evaluation", run_id, 0.04)
    assert [(row.run, row.test_rank_ic) for row in list_runs(str(folder / "a"))] == [("a", 0.04)]


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="not there"):
        list_runs(str(tmp_path / "nowhere"))
    assert list_runs(str(tmp_path)) == []


def test_the_command(folder: Path, capsys: Captured) -> None:
    assert run(["runs", str(folder)]) == 0
    out, err = capsys.readouterr()
    assert out.startswith(f"4 runs in {folder}")
    assert ["deep/seed-4", "gru", "alpha158,", "2", "4", "3", "0.2000"] in [
        line.split()[:7] for line in out.splitlines()
    ]
    assert err.count("warning") == 1
    assert run(["runs", str(folder), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [row["run"] for row in found["runs"]] == ["a", "bad", "begun", "deep/seed-4"]
    assert len(found["warnings"]) == 1
