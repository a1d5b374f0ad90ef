"""The JSON schema of configurations: committed as it is made, and it says what ``check`` says."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from raybench.config import find_problems
from raybench.config.daily import DailyConfig, parse_daily
from raybench.config.json_schema import DAILY_FILE, FILE, config_schema, daily_schema
from raybench.config.networks import NETWORKS
from raybench.config.search_space import with_value
from raybench.config.yaml_text import dump_yaml, parse_yaml

CONFIGS = Path(__file__).parents[2] / "configs"
SHIPPED = sorted(CONFIGS.glob("*.yaml"))
SCHEMA = config_schema()
VALIDATOR = jsonschema.Draft7Validator(SCHEMA)

VALID: list[tuple[str, Any]] = [
    ("data.segments.train", [20100101, "2014/12/31"]),
    ("data.start", "2009-01-01"),
    ("data.feature_set", {"type": "alpha158", "columns": ["KMID", "ROC5"]}),
    ("data.processors", {"infer": ["Fillna", {"class": "ProcessInf", "kwargs": None}], "learn": []}),
    ("data.second", {"bars": "hours", "feature_set": {"type": "alpha360"}, "lag_minutes": 60}),
    ("model", {"type": "tra", "model_config": {"hidden_size": 32}, "tra_config": {"num_states": 5}}),
    ("model", {"type": "my.module:Network", "whatever": [1, 2]}),
    ("train.lr_schedule", {"type": "cosine", "warmup_epochs": 3}),
    ("train.sample_weight", {"type": "time_decay", "half_life": 250}),
    ("train.grad_clip_value", None),
    ("cluster.use_gpu", True),
    ("tune.scheduler", {"type": "pbt", "interval": 2}),
    ("tune.search", {"type": "optuna", "startup": 3}),
    ("tune.space", {"train.lr": {"loguniform": [1e-4, 1e-2]}, "model.hidden_size": {"choice": [16, 32]}}),
    ("tune.space", {"model.type": {"choice": {"gru": {"hidden_size": {"randint": [8, 64]}}, "krnn": None}}}),
    ("tune.space", {"train.batch_size": {"quniform": [100, 800, 100]}}),
    ("evaluate", {"benchmark": None, "account": 10_000_000}),
    ("recipe", "qlib"),
]

INVALID: list[tuple[str, Any]] = [
    ("nonsense", 1),
    ("train.learning_rate", 1e-3),
    ("train.lr", "1e-3x"),
    ("train.lr", 0.0),
    ("train.optimizer", "adams"),
    ("train.max_epochs", 1.5),
    ("train.lr_schedule", {"min_lr": 0.0}),
    ("data.segments.train", ["2010-01-01"]),
    ("data.universe", ""),
    ("data.feature_set", {"type": "alpha159"}),
    ("data.processors", {"infer": ["Filna"]}),
    ("data.processors", {"infer": [{"class": "Fillna", "kwargs": {"fill": 0}}]}),
    ("model", {"type": "gruu"}),
    ("model", {"hidden_size": 64}),
    ("model", {"type": "gru", "nhead": 2}),
    ("tune.space", {"train.lr": {"loguniforms": [1e-4, 1e-2]}}),
    ("tune.metric", "rank"),
    ("cluster.use_gpu", "yes"),
    ("version", 2),
]


def changed(tree: Mapping[str, Any], key: str, value: Any) -> dict[str, Any]:
    whole: dict[str, Any] = {"train": {}, "cluster": {}, "tune": {}, **tree}
    return with_value(whole, tuple(key.split(".")), value)


def wrong_by_schema(tree: Any) -> bool:
    return not VALIDATOR.is_valid(json.loads(json.dumps(tree, default=str)))


def test_the_schema_itself_is_one() -> None:
    jsonschema.Draft7Validator.check_schema(SCHEMA)


def test_what_is_committed_is_what_is_made() -> None:
    """After a change of the configuration: ``raybench schema > configs/raybench.schema.json``."""
    assert (CONFIGS / FILE).read_text(encoding="utf-8") == json.dumps(SCHEMA, indent=2, ensure_ascii=False) + "\n"


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_a_shipped_configuration_names_the_schema_and_is_valid_by_it(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert text.startswith(f"# yaml-language-server: $schema={FILE}\n")
    VALIDATOR.validate(parse_yaml(text, path.name).tree)


@pytest.mark.parametrize(("key", "value"), VALID)
def test_what_check_takes_the_schema_takes(key: str, value: Any, tree: dict[str, Any]) -> None:
    found = changed(tree, key, value)
    assert find_problems(dump_yaml(found)) == ()
    assert not wrong_by_schema(found)


@pytest.mark.parametrize(("key", "value"), INVALID)
def test_what_the_schema_refuses_check_refuses(key: str, value: Any, tree: dict[str, Any]) -> None:
    found = changed(tree, key, value)
    assert wrong_by_schema(found)
    assert find_problems(dump_yaml(found)) != ()


@pytest.mark.parametrize("name", sorted(NETWORKS))
def test_every_network_has_its_keys(name: str, tree: dict[str, Any]) -> None:
    network = NETWORKS[name](type=name).model_dump(by_alias=True)
    assert not wrong_by_schema({**tree, "model": network})
    assert wrong_by_schema({**tree, "model": {**network, "nonsense": 1}})


def unexplained(schema: Any, path: str) -> Iterator[str]:
    """Keys without a word on what they mean, wherever they are."""
    for name, definition in [("", schema), *schema["definitions"].items()]:
        for key, value in definition.get("properties", {}).items():
            if "description" not in value and "const" not in value:
                yield f"{name}.{key}"


def test_every_key_says_what_it_means() -> None:
    """But for the names of distributions, which say it themselves, and the two keys that a processor has."""
    says_itself = {"Choice", "Grid", "Uniform", "QUniform", "LogUniform", "RandInt", "Networks"}
    left = [name for name in unexplained(SCHEMA, "") if name.partition(".")[0] not in says_itself]
    assert left == []


def test_no_default_is_another_than_check_uses() -> None:
    train = SCHEMA["definitions"]["TrainConfig"]["properties"]
    assert train["batch_size"]["default"] == 800
    assert train["early_stop"]["default"] == {"metric": "loss", "patience": 10}


def test_a_morning_has_a_schema_of_its_own() -> None:
    """After a change: ``raybench schema daily > configs/daily/daily.schema.json``. The shipped file names every key."""
    schema, folder = daily_schema(), CONFIGS / "daily"
    jsonschema.Draft7Validator.check_schema(schema)
    assert (folder / DAILY_FILE).read_text(encoding="utf-8") == json.dumps(schema, indent=2, ensure_ascii=False) + "\n"
    text = (folder / "daily.yaml").read_text(encoding="utf-8")
    assert text.startswith(f"# yaml-language-server: $schema={DAILY_FILE}\n")
    tree = parse_yaml(text, "daily.yaml").tree
    validator = jsonschema.Draft7Validator(schema)
    validator.validate(tree)
    assert parse_daily(text, name="daily.yaml").score.model == ("runs/gru",)
    assert set(tree) == {field.alias or name for name, field in DailyConfig.model_fields.items()}
    for part, name in (("import", "DailyImport"), ("score", "DailyScore")):
        assert set(tree[part]) == set(schema["definitions"][name]["properties"])
    score = tree["score"]
    for other in ({"model": ["a", "b"]}, {"start": 20200101}):
        validator.validate({**tree, "score": {**score, **other}})
    for wrong in ({"model": []}, {"min_coverage": 2}, {"nonsense": 1}, {"to": None}):
        assert not validator.is_valid({**tree, "score": {**score, **wrong}})
    assert not list(unexplained(schema, ""))
