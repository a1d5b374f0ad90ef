"""What two configurations have in common: what is learned, not where it runs or lies."""

from __future__ import annotations

from pathlib import Path

import pytest

from raybench.config import Config, load_config
from raybench.config.identity import config_hash, data_places, differences, learned
from raybench.config.schema import TrainConfig
from tests.small import SMALLEST


def config(*overrides: str) -> Config:
    return load_config(SMALLEST, overrides)


def test_every_key_of_train_counts_but_what_is_only_shown() -> None:
    keys = {key.split(".")[1] for key in learned(config()) if key.startswith("train.")}
    assert set(TrainConfig.model_fields) - keys == {"tensorboard"}


@pytest.mark.parametrize("key", ["cluster.num_workers=3", "tune.num_samples=9", "evaluate.topk=60", "data.bars=/b"])
def test_what_does_not_count(key: str) -> None:
    assert config_hash(learned(config(key))) == config_hash(learned(config()))


@pytest.mark.parametrize("key", ["train.seed=1", "data.embargo=2", "data.universe=csi300", "model.dropout=0.5"])
def test_what_counts(key: str) -> None:
    assert config_hash(learned(config(key))) != config_hash(learned(config()))
    assert key.split("=")[0] in differences(learned(config(key)), learned(config()))


def test_three_keys_are_named_and_the_rest_counted() -> None:
    changed = ("train.seed=1", "train.lr=1", "train.batch_size=2", "data.step_len=3", "data.embargo=1")
    told = differences(learned(config(*changed)), learned(config()))
    assert told.count(" there, ") == 3
    assert told.endswith("and 2 keys more")


def test_a_link_is_what_it_leads_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "bars").mkdir()
    (tmp_path / "link").symlink_to("bars")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    names = ("bars", "link", "~/link", str(tmp_path / "bars"), "other/../bars")
    assert {data_places(config(f"data.bars={name}"))["data.bars"] for name in names} == {str(tmp_path / "bars")}
    assert data_places(config("data.bars=s3://b/bars"))["data.bars"] == "s3://b/bars"
