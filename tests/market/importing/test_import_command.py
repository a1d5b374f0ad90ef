"""``raybench import`` as it is typed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from raybench.cli.app import run
from raybench.market.bars import open_bars

CSV = """Symbol,datetime,open,high,low,close,volume
B,2020-01-03,1,2,1,1.5,100
A,2020-01-02,3,4,5,3.5,10
A,2020-01-06,5,6,5,5.5,20
"""


@pytest.fixture
def csv(tmp_path: Path) -> Path:
    (tmp_path / "bars.csv").write_text(CSV)
    (tmp_path / "few.csv").write_text("instrument,start,end\nA,2020-01-01,\nZ,2020-01-01,2020-02-01\n")
    return tmp_path / "bars.csv"


def command(csv: Path, *more: str) -> list[str]:
    to = str(csv.parent / "to")
    return ["import", str(csv), "--to", to, "--columns", "Symbol=instrument", "--json", *more]


def test_a_table_with_a_universe(csv: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = command(csv, "--universe", f"few={csv.parent}/few.csv", "--format", "csv")
    assert run(arguments) == 0
    first = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (first["instruments"], first["rows"], first["changed"]) == (2, 4, True)
    assert (first["dates"], first["first"], first["last"]) == (3, "2020-01-02", "2020-01-06")
    assert first["universes"] == ["all", "few"]
    assert first["warnings"] == {
        "close_outside_low_high": {"count": 1, "examples": ["A 2020-01-02"]},
        "high_below_low": {"count": 1, "examples": ["A 2020-01-02"]},
        "member_without_files": {"count": 1, "examples": ["Z"]},
    }
    assert open_bars(csv.parent / "to").universe("few").instruments == ("A",)
    assert run(arguments) == 0
    second = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert second == {**first, "changed": False}


def test_it_says_that_nothing_changed(csv: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = [word for word in command(csv) if word != "--json"]
    assert run(arguments) == 0
    assert "imported" in capsys.readouterr().out
    assert run(arguments) == 0
    assert "nothing changed" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (["--columns", "Symbol"], "--columns Symbol: want THEIRS=OURS"),
        (["--columns", "Symbol=x"], "Symbol is given twice"),
        (["--universe", "few"], "--universe few: want NAME=FILE"),
        (["--universe", "few="], "--universe few=: want NAME=FILE"),
        (["--universe", "few=nowhere.csv"], "no such file"),
        (["--format", "xml"], "xml is no format"),
        (["--format", "qlib"], "--columns is for tables"),
    ],
)
def test_usage_that_makes_no_sense(csv: Path, capsys: pytest.CaptureFixture[str], more: list[str], says: str) -> None:
    assert run(command(csv, *more)) == 2
    printed = capsys.readouterr()
    assert says in printed.err
    assert "Traceback" not in printed.err
    assert printed.out == ""
    assert not (csv.parent / "to").exists()


@pytest.mark.parametrize("more", [[], ["--format", "parquet"]])
def test_bars_are_imported_already(csv: Path, capsys: pytest.CaptureFixture[str], more: list[str]) -> None:
    assert run(command(csv)) == 0
    assert run(["import", str(csv.parent / "to"), "--to", str(csv.parent / "again"), *more]) == 2
    assert "to: is a bars dataset already" in capsys.readouterr().err
    assert not (csv.parent / "again").exists()


def test_a_place_inside_the_source_is_refused(csv: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (csv.parent / "few.csv").unlink()
    to = str(csv.parent / "bars")
    assert run(["import", str(csv.parent), "--to", to, "--columns", "Symbol=instrument"]) == 2
    assert "lies in the source" in capsys.readouterr().err


def test_a_place_that_is_taken_is_refused_before_the_source_is_read(
    csv: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    csv.write_text("nonsense")
    taken = csv.parent / "taken"
    taken.mkdir()
    (taken / "thesis.docx").touch()
    assert run(["import", str(csv), "--to", str(taken)]) == 2
    assert f"--to is {taken}, which holds other files; want a new or empty folder" in capsys.readouterr().err
