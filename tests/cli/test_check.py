"""``raybench check`` and ``raybench models``."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from raybench.cli.app import run

ROOT = Path(__file__).parents[2]
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
    assert found["batch_mb_estimated"] > 800 * batch[1] * batch[2] * 4 / 1e6
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
        ("gru_alpha360", [], 6 * 4 + 24),
        (
            "gru_alpha360",
            ["data.processors.infer=[{class: CSRankNorm, kwargs: {fields_group: feature}}]"],
            360 * 4 + 24,
        ),
    ],
)
def test_the_memory_of_rows_that_the_configuration_alone_says(
    name: str, changes: list[str], size: int, capsys: Captured
) -> None:
    """From 2008 to 2020-08-01 there are 12.58 years, of 244 trading days."""
    assert run(["check", str(ROOT / "configs" / f"{name}.yaml"), *changes, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["panel_mb_per_1000_instruments"]
    assert found == pytest.approx(12.58 * 244 * 1000 * size / 1e6, rel=0.01)
