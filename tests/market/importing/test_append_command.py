"""``raybench import --append`` and ``--compact`` as they are typed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from raybench.cli.app import run
from tests.market.importing.worlds import DAYS, flat, full

pytestmark = pytest.mark.usefixtures("small_files")


def typed(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """As a person types it, in another folder, on 80 columns."""
    return subprocess.run(
        [sys.executable, "-m", "raybench", *words],
        cwd=folder,
        env={**os.environ, "COLUMNS": "80"},
        capture_output=True,
        text=True,
        check=False,
    )


def test_as_it_is_typed(tmp_path: Path) -> None:
    rows = flat(6, 60)
    rows[rows["datetime"] < DAYS[58]].to_csv(tmp_path / "old.csv", index=False)
    new = rows[rows["datetime"] >= DAYS[57]].copy()
    new.loc[(new["instrument"] == "I2") & (new["datetime"] == DAYS[57]), ["close", "volume"]] = 12.25
    new.to_csv(tmp_path / "new.csv", index=False)
    assert typed(tmp_path, "import", "old.csv", "--to", "bars").returncode == 0
    refused = typed(tmp_path, "import", "new.csv", "--to", "bars", "--quiet")
    assert refused.returncode == 2
    assert "add to what is there with --append" in refused.stderr.replace("\n", " ")
    done = typed(tmp_path, "import", "new.csv", "--to", "bars", "--append")
    assert done.returncode == 0, done.stderr
    assert "appended 12 rows, 2 new dates, 2020-03-26 to 2020-03-27" in done.stdout
    assert "1 instrument has another history now: I2 from 2020-03-25" in " ".join(done.stdout.split())
    again = typed(tmp_path, "import", "new.csv", "--to", "bars", "--append", "--json")
    said = json.loads(again.stdout.splitlines()[-1])
    assert (said["changed"], said["appended"]["rows"], said["appended"]["changed"]) == (False, 0, {})
    joined = json.loads(typed(tmp_path, "import", "--to", "bars", "--compact", "--json").stdout.splitlines()[-1])
    assert (joined["changed"], joined["files"], joined["fingerprint"]) == (True, 1, said["fingerprint"])
    for words in (["--to", "bars"], ["new.csv", "--to", "bars", "--append", "--replace"]):
        wrong = typed(tmp_path, "import", *words)
        assert (wrong.returncode, wrong.stdout) == (2, "")
        assert "Traceback" not in wrong.stderr


def test_options_that_joining_files_has_no_use_for_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    full(flat(6, 60), {}, tmp_path)
    monkeypatch.chdir(tmp_path)
    for words, named in (
        (["--universe", "pool=new.csv", "--adjust", "factor"], "leave --universe, --adjust out"),
        (["--min-date-coverage", "0"], "leave --min-date-coverage out"),
    ):
        assert run(["import", "--to", "bars", "--compact", *words]) == 2
        assert named in " ".join(capsys.readouterr().err.split())
    assert run(["import", "--to", "bars", "--compact"]) == 0
