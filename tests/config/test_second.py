"""``data.second``: its defaults, what is wrong with it, and its path."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
import yaml

from raybench.cli.app import run
from raybench.config import load_config, with_absolute_paths
from raybench.config.load import dump_config, find_problems, parse_config
from raybench.errors import ConfigError

Tree = dict[str, Any]
SECOND = "data.second={bars: hours, feature_set: {type: alpha158, columns: [ROC5, KLEN]}, step_len: 35}"
PAGE = Path(__file__).parents[2] / "docs" / "two-frequencies.md"


def test_defaults_are_those_of_data(tree: Tree) -> None:
    assert load_config(tree).data.second is None
    data = load_config(tree, ["data.second={bars: hours}"]).data
    second = data.second
    assert second is not None
    assert (second.feature_set, second.step_len, second.lag_minutes) == (data.feature_set, data.step_len, 0)
    assert second.processors.infer == data.processors.infer
    assert data.second_features == 158
    flat = load_config(tree, ["data.second={bars: hours, feature_set: {type: alpha360}}"]).data
    assert flat.second is not None
    assert (flat.second.step_len, flat.second_features) == (60, 6)


def test_column_filters_count(tree: Tree) -> None:
    drop = "[{class: DropCol, kwargs: {col_list: [KLEN]}}]"
    assert load_config(tree, [SECOND, f"data.second.processors.infer={drop}"]).data.second_features == 1


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("data.second.columns=[KLEN]", r"data\.second\.columns: unknown key"),
        ("data.second.feature_set={type: table}", r"data\.second\.feature_set\.type: want alpha158 or alpha360"),
        ("data.second.feature_set.columns=[KLEN9]", r"data\.second\.feature_set\.columns\.0: alpha158 has no column"),
        ("data.second.feature_set={type: alpha360}", r"data\.second\.step_len: alpha360 has windows of 60, got 35"),
        ("data.second.lag_minutes=-1", r"data\.second\.lag_minutes: want at least 0"),
        (
            "data.second.processors.infer=[{class: RobustZScoreNorm, kwargs: {fit_end_time: 2015-06-30}}]",
            r"data\.second\.processors\.infer\.0\.kwargs\.fit_end_time: .*inside valid",
        ),
        ("data.second.processors.infer=[{class: DropnaLabel}]", r"data\.second\.processors\.infer: DropnaLabel"),
        ("data.residency=streaming", r"data\.residency: streaming .*data\.second"),
        ("model={type: mlp}", r"data\.second: mlp takes one window"),
        ("model={type: gats}", r"data\.second: gats takes one window"),
    ],
)
def test_what_is_wrong_is_named(tree: Tree, override: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says) as caught:
        load_config(tree, [SECOND, override])
    assert "\n" not in str(caught.value)


def test_a_problem_of_the_whole_is_told_once(tree: Tree) -> None:
    tree["data"]["start"] = "2011-01-01"
    found = find_problems(yaml.safe_dump(tree), overrides=[SECOND])
    assert len(found) == 1
    assert "data.start" in found[0]


def test_paths_and_text(tree: Tree, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = with_absolute_paths(load_config(tree, [SECOND]))
    assert config.data.second is not None
    assert config.data.second.bars == os.path.abspath("hours")
    assert parse_config(dump_config(config)) == config
    (tmp_path / "c.yaml").write_text(dump_config(config))
    assert run(["check", str(tmp_path / "c.yaml"), "model={type: lstm}", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert f"data.second.bars: {os.path.abspath('hours')} is not there" in found["warnings"]
    assert found["second"].startswith("35 rows of 2 features of alpha158 from ")
    assert run(["check", str(tmp_path / "c.yaml"), "model={type: lstm}", "data.second=null", "--json"]) == 0
    alone = json.loads(capsys.readouterr().out)
    assert alone["second"] is None
    assert found["parameters"] - alone["parameters"] == 4 * 64 * (2 + 64 + 2) + 4 * 64 * (64 + 64 + 2) + 64
    assert found["panel_row_bytes"] - alone["panel_row_bytes"] == 8  # which row of the second bars


def test_the_configuration_of_the_documentation_is_valid() -> None:
    text = PAGE.read_text().split("```yaml\n")[1].split("```")[0]
    second = parse_config(text).data.second
    assert second is not None
    assert second.lag_minutes == 60
