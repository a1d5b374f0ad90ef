"""``raybench check`` and ``raybench models``."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from raybench.cli.app import run

ROOT = Path(__file__).parents[3]
Captured = pytest.CaptureFixture[str]


@pytest.mark.parametrize(
    ("name", "parameters", "batch"),
    [
        ("gru_alpha158", 41_537, [800, 20, 20]),
        ("gru_alpha360", 38_849, [800, 60, 6]),
        ("lstm_alpha158", 55_361, [800, 20, 20]),
        ("lstm_alpha360", 51_777, [800, 60, 6]),
    ],
)
def test_says_what_it_would_run(name: str, parameters: int, batch: list[int], capsys: Captured) -> None:
    assert run(["check", str(ROOT / "configs" / f"{name}.yaml"), "data.bars=/nowhere/bars", "--json"]) == 0
    out, err = capsys.readouterr()
    found = json.loads(out)
    assert (found["parameters"], found["batch"]) == (parameters, batch)
    assert found["segments"]["valid"] == "2015-01-01 to 2016-12-31"
    assert found["quirks"] == []
    assert "data.bars: /nowhere/bars is not there" in found["warnings"]
    assert any("data.embargo" in text for text in found["warnings"])
    assert err.count("warning: ") == len(found["warnings"])


def test_a_path_that_is_there_is_no_warning(tmp_path: Path, capsys: Captured) -> None:
    config = str(ROOT / "configs" / "gru_alpha158.yaml")
    assert run(["check", config, f"data.bars={tmp_path}", "data.embargo=2", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["warnings"] == []


def test_quirks_are_named(capsys: Captured) -> None:
    assert run(["check", str(ROOT / "configs" / "gru_alpha158.yaml"), "recipe=qlib"]) == 0
    text = capsys.readouterr().out
    assert "fewer than 800 samples" in text
    assert "learn frame" in text


def test_every_problem_is_a_line(capsys: Captured) -> None:
    config = ROOT / "configs" / "gru_alpha158.yaml"
    assert run(["check", str(config), "train.lr=fast", "model.hiden=3"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert sorted(line.split(": ")[2] for line in err.splitlines()) == ["model.hiden", "train.lr"]


def test_an_unknown_width_is_said(tmp_path: Path, capsys: Captured) -> None:
    overrides = ["data.feature_set={type: table}", "data.features=t.parquet", "data.label=y", "--json"]
    assert run(["check", str(ROOT / "configs" / "gru_alpha158.yaml"), *overrides]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["parameters"], found["num_features"], found["horizon"]) == (None, None, None)


def test_models(capsys: Captured) -> None:
    assert run(["models"]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["gru", "41,537", "38,849"] in [line[:3] for line in lines]
    assert ["lstm", "55,361", "51,777"] in [line[:3] for line in lines]


def test_the_features_of_a_table_are_named(tmp_path: Path, capsys: Captured) -> None:
    """Its columns are known to nobody but itself; no row of it is read."""
    import pandas as pd

    columns = ["datetime", "a", "b", "LABEL0", "LABEL1", "Unnamed: 0"]
    frame = pd.DataFrame({"instrument": ["A"], **{name: [1.0] for name in columns}})
    frame.to_parquet(tmp_path / "t.parquet")
    overrides = ["data.feature_set={type: table}", f"data.features={tmp_path / 't.parquet'}", "data.label=LABEL0"]
    assert run(["check", str(ROOT / "configs" / "gru_alpha158.yaml"), *overrides, "data.bars=null", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["num_features"], found["features"]) == (2, ["a", "b"])
    assert found["parameters"] > 0
    assert any("LABEL1 (a label), Unnamed: 0 (a row number)" in line for line in found["warnings"])


def test_people_are_told_in_one_screen_and_what_to_type_next(capsys: Captured) -> None:
    config = str(ROOT / "configs" / "gru_alpha158.yaml")
    assert run(["check", config, "train.lr=1e-3"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1] == "  gru, 41,537 parameters; 20 features, windows of 20 rows"
    assert lines[-1] == f"next: raybench train {config} train.lr=1e-3 --out runs/gru_alpha158"
    assert len(lines) < 12
    assert run(["check", config, "-v"]) == 0
    assert "step_len" in capsys.readouterr().out


RANKED = "data.processors.infer=[{class: CSRankNorm, kwargs: {fields_group: feature}}]"


@pytest.mark.parametrize(
    ("name", "changes", "size"),
    [
        ("gru_alpha158", [], 20 * 4 + 13 + 24),
        ("gru_alpha158", ["train.sample_weight={type: time_decay, half_life: 250}"], 20 * 4 + 13 + 24 + 4),
        ("gru_alpha360", [], 6 * 4 + 24),
        ("gru_alpha360", [RANKED], 360 * 4 + 24),
    ],
)
def test_the_memory_of_a_row_that_the_configuration_alone_says(
    name: str, changes: list[str], size: int, capsys: Captured
) -> None:
    """``tests/panel/test_panel_size.py`` holds it against panels."""
    assert run(["check", str(ROOT / "configs" / f"{name}.yaml"), *changes, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["panel_row_bytes"] == size
    assert run(["check", str(ROOT / "configs" / f"{name}.yaml"), *changes]) == 0
    assert f"memory: {size:,} bytes of panel for a member's bar" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (["data.label=LABEL0"], "no column LABEL0, which data.label names; labels there are LABEL1"),
        (["data.label=NOPE"], "no column NOPE, which data.label names; labels there are LABEL1"),
        (
            ["data.label=LABEL1", "train.sample_weight={type: column, column: w}"],
            "no column w, which train.sample_weight.column names",
        ),
        (
            ["data.label=LABEL1", "data.feature_set.columns=[a, gone]"],
            "no column gone, which data.feature_set asks for",
        ),
    ],
)
def test_a_table_that_is_there_and_lacks_a_named_column_is_no_valid_one(
    changes: list[str], said: str, tmp_path: Path, capsys: Captured
) -> None:
    import pandas as pd

    columns = ["datetime", "a", "b", "LABEL1"]
    pd.DataFrame({"instrument": ["A"], **{name: [1.0] for name in columns}}).to_parquet(tmp_path / "t.parquet")
    table = [f"data.features={tmp_path / 't.parquet'}", "data.feature_set={type: table}", "data.bars=null"]
    assert run(["check", str(ROOT / "configs" / "gru_alpha158.yaml"), *table, "data.horizon=1", *changes]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert said in err
