"""Defaults, what follows from other keys, and what is refused."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from raybench.config import Config, load_config, parse_config
from raybench.config.data.alpha_names import ALPHA158_NAMES, ALPHA360_NAMES, BENCHMARK_20
from raybench.config.load import dump_config
from raybench.config.schema import WITHOUT_EFFECT
from raybench.errors import ConfigError

Tree = dict[str, Any]


def refused(tree: Tree, *overrides: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load_config(tree, overrides)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_defaults_are_qlibs_benchmark(tree: Tree) -> None:
    config = load_config(tree)
    infer, learn = config.data.processors.infer, config.data.processors.learn
    assert [spec.name for spec in infer] == ["RobustZScoreNorm", "Fillna"]
    assert [spec.name for spec in learn] == ["DropnaLabel", "CSRankNorm"]
    assert infer[0].kwargs["clip_outlier"] is True
    assert infer[0].kwargs["fields_group"] == "feature"
    assert (config.train.lr, config.train.batch_size, config.train.grad_clip_value) == (2e-4, 800, 3.0)
    assert (config.evaluate.account, config.evaluate.topk, config.evaluate.n_drop) == (1e8, 50, 5)
    assert config.data.step_len == 20
    assert config.data.first_date == dt.date(2010, 1, 1)
    assert config.recipe == "raybench"


def test_a_number_in_quotes_is_text_in_a_file(tree: Tree) -> None:
    """YAML says so; a mapping that Python gives may come from a loader that knows no better."""
    with pytest.raises(ConfigError, match=r"train.lr: want a number, got text '1e-3'; leave out the quotes"):
        parse_config(yaml.safe_dump(tree, default_flow_style=False), overrides=["train.lr='1e-3'"])
    assert load_config(tree, ["train.lr='1e-3'"]).train.lr == 1e-3


def test_a_configuration_does_not_change(tree: Tree) -> None:
    config = load_config(tree)
    with pytest.raises(ValidationError):
        config.train.lr = 1.0  # type: ignore[misc]


@pytest.mark.parametrize(
    ("override", "key", "says"),
    [
        ("train.learning_rte=1", "train.learning_rte", "unknown key"),
        ("train.batch_sze=1", "train.batch_sze", "did you mean 'batch_size'?"),
        ("trian.lr=1", "trian", "did you mean 'train'?"),
        ("train.lr=fast", "train.lr", "want a number, got text 'fast'"),
        ("train.lr=.nan", "train.lr", "want a finite number"),
        ("train.lr=1e300", "train.lr", "want a size between 1e-30 and 1e+30, got 1e+300"),
        ("train.lr=1e-320", "train.lr", "want a size between 1e-30 and 1e+30"),
        ("train.weight_decay=1e39", "train.weight_decay", "want a size between"),
        ("tune.space={train.lr: {choice: [1e-3, 1e300]}}", "tune.space.train.lr", "want a size between"),
        ("train.batch_size=800.5", "train.batch_size", "want a whole number"),
        ("train.seed=true", "train.seed", "want a whole number, got true"),
        ("train.compile=1", "train.compile", "want true or false, got 1"),
        ("train.lr=-1", "train.lr", "want more than 0"),
        ("train.optimizer=adm", "train.optimizer", "did you mean 'adam'?"),
        ("train.lr_schedule={type: cos}", "train.lr_schedule.type", "did you mean 'cosine'?"),
        ("train.lr_schedule={type: cosine, warmup: 2}", "train.lr_schedule.warmup", "'warmup_epochs'"),
        ("train.sample_weight={type: time_decay}", "train.sample_weight.half_life", "is required"),
        ("train.lr_schedule={type: cosine, min_lr: 1}", "train.lr_schedule.min_lr", "1 is above train.lr, 0.0002"),
        ("train.lr_schedule={type: plateau, min_lr: 1}", "train.lr_schedule.min_lr", "rates go down"),
        ("train.momentum=0.9", "train.momentum", "is for optimizer sgd"),
        ("model.hiden_size=3", "model.hiden_size", "did you mean 'hidden_size'?"),
        ("model.hidden_size=0", "model.hidden_size", "want at least 1"),
        ("model.dropout=1.0", "model.dropout", "want less than 1"),
        ("model.type=gruu", "model.type", "unknown network 'gruu'; did you mean 'gru'?"),
        ("model=gru", "model", "want a mapping"),
        ("cluster.use_gpu=maybe", "cluster.use_gpu", "want 'auto', true or false"),
        ("data.segments.valid=[2014-12-31, 2016-12-31]", "data.segments.valid", "train ends on 2014-12-31"),
        ("data.segments.test=[2016-06-01, 2020-08-01]", "data.segments.test", "valid ends on 2016-12-31"),
        ("data.segments.train=[2014-12-31, 2010-01-01]", "data.segments.train", "after its end"),
        ("data.segments.train=[2010-13-01, 2014-12-31]", "data.segments.train.0", "want a date"),
        ("data.segments.train=2010-01-01", "data.segments.train", "want two dates"),
        ("data.start=2010-06-01", "data.start", "after the start of train"),
        ("data.bars=", "data.bars", "is required"),
        ("data.label=LABEL0", "data.label", "names a column of data.features"),
        ("data.label=Ref($close", "data.label", "want ','"),
        ("data.feature_set={type: table}", "data.feature_set.type", "needs data.features"),
        ("data.feature_set={type: alpha185}", "data.feature_set.type", "did you mean 'alpha158'?"),
        ("data.feature_set={columns: [KLEM]}", "data.feature_set.columns.0", "did you mean 'KLEN'?"),
        ("data.feature_set={columns: [KLEN, KLEN]}", "data.feature_set.columns", "KLEN twice"),
        ("data.feature_set={columns: []}", "data.feature_set.columns", "names no column"),
        ("data.embargo=-1", "data.embargo", "want at least 0"),
        ("evaluate.n_drop=60", "evaluate.n_drop", "more than topk 50"),
        ("tune.mode=min", "tune.mode", "metric rank_ic wants mode max"),
        ("tune.space={train.lr: {log: [1, 2]}}", "tune.space.train.lr.log", "unknown distribution"),
        ("tune.space={train.lr: {loguniform: [0, 1]}}", "tune.space.train.lr", "starts above 0"),
        ("tune.space={train.lr: {uniform: [2, 1]}}", "tune.space.train.lr", "want [low, high]"),
        ("tune.space={train.rl: {choice: [1]}}", "tune.space.train.rl", "unknown key"),
        ("tune.space={model.hidden_size: {uniform: [16, 32]}}", "tune.space.model.hidden_size", "whole number"),
        ("tune.space={tune.num_samples: {choice: [1]}}", "tune.space.tune.num_samples", "is not searched"),
        ("version=2", "version", "want 1"),
        ("version=true", "version", "want a whole number, got true"),
        ("cluster.use_gpu=1", "cluster.use_gpu", "want 'auto', true or false, got 1"),
    ],
)
def test_refused_with_key_and_reason(tree: Tree, override: str, key: str, says: str) -> None:
    message = refused(tree, override)
    assert f": {key}: " in message
    assert says in message
    assert override.split("=")[0] in message


@pytest.mark.parametrize(
    ("processor", "says"),
    [
        ("{class: RobustZScore}", "did you mean 'RobustZScoreNorm'?"),
        ("{kwargs: {}}", "infer.0.class: is required"),
        ("{class: Fillna, kwargs: {fields_grup: feature}}", "did you mean 'fields_group'?"),
        ("{class: Fillna, kwargs: {fields_group: features}}", "want 'feature' or 'label'"),
        ("{class: Fillna, kwargs: {fill_value: none}}", "want a number"),
        ("{class: Fillna, kwargs: {fill_value: -1e39}}", "fill_value: want a size between 1e-30 and 1e+30, got -1e+39"),
        ("{class: CSZScoreNorm, kwargs: {method: z}}", "want 'zscore' or 'robust'"),
        ("{class: DropnaLabel}", "belongs in data.processors.learn"),
        ("{class: FilterCol, kwargs: {col_list: [KLEM]}}", "did you mean 'KLEN'?"),
        ("{class: ZScoreNorm, kwargs: {fit_end_time: 2015-01-01}}", "inside valid (from 2015-01-01)"),
        ("{class: MinMaxNorm, kwargs: {fit_end_time: 2017-01-01}}", "fitted up to 2017-01-01, inside valid"),
        ("{class: ZScoreNorm, kwargs: {fit_start_time: 2018-01-01, fit_end_time: 2018-02-01}}", "inside test"),
        ("{class: ZScoreNorm, kwargs: {fit_start_time: 2016-01-01}}", "is no range"),
        ("{class: ZScoreNorm, kwargs: {fit_start_time: 2005-01-01, fit_end_time: 2006-01-01}}", "before the frame"),
        ("7", "want a mapping"),
    ],
)
def test_processors_are_checked(tree: Tree, processor: str, says: str) -> None:
    assert says in refused(tree, f"data.processors.infer=[{processor}]")


@pytest.mark.parametrize("label", ["$close / Ref($close, 1) - 1", "$close / $open - 1", "Ref($close, 1)"])
def test_a_label_that_is_known_on_its_own_date_is_told(tree: Tree, label: str) -> None:
    (line,) = (line for line in load_config(tree, [f"data.label={label}"]).warnings() if "no later bar" in line)
    assert label in line
    assert not any("no later bar" in line for line in load_config(tree).warnings())


def test_a_column_of_a_table_that_is_known_on_its_own_date_is_told(tree: Tree) -> None:
    overrides = ["data.bars=null", "data.features=t", "data.label=now", "data.horizon=0"]
    assert "the label now looks at no later bar" in load_config(tree, overrides).warnings()[0]


@pytest.mark.parametrize(("epochs", "told"), [(5, True), (6, False)])
def test_a_warmup_that_never_ends_is_told(tree: Tree, epochs: int, told: bool) -> None:
    overrides = [f"train.max_epochs={epochs}", "train.lr_schedule={type: cosine, warmup_epochs: 5}"]
    assert any("train.lr is not reached" in line for line in load_config(tree, overrides).warnings()) == told


@pytest.mark.parametrize("label", ["LABEL0", "five"])
def test_the_label_is_no_feature(tree: Tree, label: str) -> None:
    """As a feature it would know the answer; it was left out after the training, and the run could not be read."""
    table = ["data.bars=null", "data.features=t", f"data.label={label}"]
    message = refused(tree, *table, f"data.feature_set={{type: table, columns: [a, {label}]}}")
    assert f"data.feature_set.columns: names {label}, which is the label (data.label)" in message


def test_weights_of_samples_are_no_feature(tree: Tree) -> None:
    table = ["data.bars=null", "data.features=t", "data.feature_set={type: table, columns: [a, cap]}"]
    message = refused(tree, *table, "train.sample_weight={type: column, column: cap}")
    assert "train.sample_weight.column: cap is among data.feature_set.columns" in message


def test_fit_range_is_the_train_segment_unless_given(tree: Tree) -> None:
    spec = "{class: ZScoreNorm, kwargs: {fit_start_time: 2009-01-01, fit_end_time: 2012-01-01}}"
    data = load_config(tree, [f"data.processors.infer=[{spec}, {{class: MinMaxNorm}}, Fillna]"]).data
    given, default, unfitted = data.processors.infer
    assert data.fit_range(given) == (dt.date(2009, 1, 1), dt.date(2012, 1, 1))
    assert data.fit_range(default) == (dt.date(2010, 1, 1), dt.date(2014, 12, 31))
    assert data.fit_range(unfitted) is None


def test_a_fit_range_before_the_frame_is_a_warning(tree: Tree) -> None:
    overrides = ["data.processors.infer=[{class: ZScoreNorm, kwargs: {fit_start_time: 2009-01-01}}]", "data.embargo=2"]
    assert [w for w in load_config(tree, overrides).warnings() if "set data.start to 2009-01-01" in w]
    assert load_config(tree, [*overrides, "data.start=2009-01-01"]).warnings() == ()


def test_alpha360_has_windows_of_60(tree: Tree) -> None:
    assert load_config(tree, ["data.feature_set={type: alpha360}"]).data.step_len == 60
    assert "60, got 20" in refused(tree, "data.feature_set={type: alpha360}", "data.step_len=20")
    assert "taken whole" in refused(tree, "data.feature_set={type: alpha360, columns: [CLOSE0]}")


def test_columns_come_in_table_order(tree: Tree) -> None:
    config = load_config(tree, [f"data.feature_set.columns=[{', '.join(reversed(BENCHMARK_20))}]"])
    assert config.data.feature_set.names == BENCHMARK_20
    assert config.data.num_features == 20


def test_features_after_filter_and_drop(tree: Tree) -> None:
    keep = "{class: FilterCol, kwargs: {col_list: [KLEN, KLOW, KUP]}}"
    drop = "{class: DropCol, kwargs: {col_list: [KLOW]}}"
    assert load_config(tree, [f"data.processors.infer=[{keep}, {drop}]"]).data.num_features == 2


def test_a_feature_table_carries_its_label(tree: Tree) -> None:
    tree["data"] |= {"bars": None, "features": "table.parquet"}
    assert load_config(tree).data.label == "LABEL0"
    default = load_config(tree, ["data.label='Ref($close,-2)/Ref($close,-1)-1'"])
    assert default.data.label_column == "LABEL0"
    assert load_config(tree, ["data.label=target"]).data.horizon is None
    assert "name its column" in refused(tree, "data.label='$close'")
    table = load_config(tree, ["data.feature_set={type: table}"])
    assert (table.data.num_features, table.data.feature_set.names) == (None, None)


def test_the_horizon_of_a_label_of_ones_own(tree: Tree) -> None:
    """Asked for where it is not known; then labels that look into the next segment can be told."""
    tree["data"] |= {"bars": None, "features": "table.parquet", "label": "LABEL_5D"}
    assert "set data.horizon" in load_config(tree).warnings()[0]
    known = load_config(tree, ["data.horizon=6"])
    assert known.data.horizon == 6
    assert "set data.embargo to 6" in known.warnings()[0]
    assert load_config(tree, ["data.label=LABEL0", "data.horizon=6"]).data.horizon == 6
    assert load_config(tree, ["data.label=LABEL0"]).data.horizon == 2
    assert parse_config(dump_config(known)) == known


def test_the_horizon_of_an_expression_is_known(tree: Tree) -> None:
    assert load_config(tree, ["data.horizon=2"]).data.horizon == 2
    assert "data.horizon: is 5, but" in refused(tree, "data.horizon=5")


def test_clip_by_norm_takes_the_place_of_clip_by_value(tree: Tree) -> None:
    train = load_config(tree, ["train.grad_clip_norm=1.0"]).train
    assert (train.grad_clip_norm, train.grad_clip_value) == (1.0, None)
    assert "grad_clip_value is set too" in refused(tree, "train.grad_clip_norm=1.0", "train.grad_clip_value=3.0")


@pytest.mark.parametrize(
    ("train_end", "embargo", "crossing"),
    [
        ("2014-12-31", 0, 2),  # a Wednesday, valid starts on the Thursday
        ("2014-12-30", 0, 1),
        ("2014-12-29", 0, 0),
        ("2014-12-31", 1, 1),
        ("2014-12-31", 2, 0),
    ],
)
def test_labels_across_a_border_are_a_warning(tree: Tree, train_end: str, embargo: int, crossing: int) -> None:
    tree["data"]["segments"]["train"][1] = train_end
    tree["data"]["embargo"] = embargo
    tree["data"]["segments"]["test"][0] = "2017-03-01"
    found = load_config(tree).warnings()
    assert len(found) == (1 if crossing else 0)
    labels = f"last {crossing} label{'s' * (crossing > 1)} of train"
    assert all(labels in text and "data.embargo to " in text for text in found)


def test_ones_own_network_passes_its_keys_through(tree: Tree) -> None:
    config = load_config(tree, ["model={type: 'my.net:Net', width: 3, act: relu}"])
    assert config.model.kwargs == {"width": 3, "act": "relu"}
    assert config.model.parameter_count(20, 20) is None
    assert "unknown network" in refused(tree, "model={type: 'my.net'}")


def test_default_search_space_fits_the_network(tree: Tree) -> None:
    assert set(load_config(tree).search_space) == {"model.hidden_size", "model.dropout", "train.lr"}
    assert set(load_config(tree, ["model={type: 'my.net:Net'}"]).search_space) == {"train.lr"}


@pytest.mark.parametrize(
    ("model", "features", "parameters"),
    [("gru", 20, 41_537), ("gru", 6, 38_849), ("lstm", 20, 55_361), ("lstm", 6, 51_777)],
)
def test_parameter_counts_are_those_of_qlib(tree: Tree, model: str, features: int, parameters: int) -> None:
    assert load_config(tree, [f"model.type={model}"]).model.parameter_count(features, 20) == parameters


def test_names_of_the_feature_sets() -> None:
    assert (len(set(ALPHA158_NAMES)), len(set(ALPHA360_NAMES))) == (158, 360)
    assert ALPHA158_NAMES[:14] == (
        *("KMID", "KLEN", "KMID2", "KUP", "KUP2", "KLOW", "KLOW2", "KSFT", "KSFT2"),
        *("OPEN0", "HIGH0", "LOW0", "VWAP0", "ROC5"),
    )
    assert ALPHA158_NAMES[-1] == "VSUMD60"
    assert (ALPHA360_NAMES[0], ALPHA360_NAMES[59], ALPHA360_NAMES[-1]) == ("CLOSE59", "CLOSE0", "VOLUME0")
    assert tuple(name for name in ALPHA158_NAMES if name in BENCHMARK_20) == BENCHMARK_20


def test_a_config_is_its_own_source(tree: Tree) -> None:
    config = load_config(tree)
    assert load_config(config) == config
    assert load_config(config, ["train.seed=3"]).train.seed == 3
    assert isinstance(config, Config)


def test_what_has_no_effect_yet_is_said(tree: Tree) -> None:
    for override, part in (("evaluate.topk=30", "evaluate"),):
        assert f"{part} has no effect yet: no command reads it" in load_config(tree, [override]).warnings()
    assert not any("no effect" in line for line in load_config(tree).warnings())


def test_a_stored_configuration_does_not_warn_of_its_defaults(tree: Tree) -> None:
    stored = yaml.safe_load(dump_config(load_config(tree)))
    assert not any("no effect" in line for line in load_config(stored).warnings())


@pytest.mark.parametrize("path", sorted((Path(__file__).parents[2] / "configs").glob("*.yaml")), ids=lambda p: p.stem)
def test_shipped_configurations_have_no_key_without_effect(path: Path) -> None:
    parts = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert set(parts) & set(WITHOUT_EFFECT) == set()
