"""Files: lines in errors, overrides, bounds, and the way back."""

from __future__ import annotations

import json
import pickle
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from raybench.config import dump_config, find_problems, load_config, parse_config, with_absolute_paths
from raybench.config.schema import WITHOUT_EFFECT
from raybench.config.yaml_text import dump_yaml, parse_yaml
from raybench.errors import ConfigError

CONFIGS = sorted((Path(__file__).parents[2] / "configs").glob("*.yaml"))
TEXT = """\
data:
  bars: bars
  segments: {train: [2010-01-01, 2014-12-31], valid: [2015-01-01, 2016-12-31], test: [2017-01-01, 2020-08-01]}
model:
  type: gru
train:
  lr: 1e-3
"""


def refused(text: str, *overrides: str) -> str:
    with pytest.raises(ConfigError) as caught:
        parse_config(text, name="c.yaml", overrides=overrides)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_number_without_a_dot_is_a_number() -> None:
    assert parse_config(TEXT).train.lr == 1e-3


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 1e-3), ("1E5", 1e5), (".5", 0.5), ("5.", 5.0), ("-1.5e+3", -1500.0), ("+3", 3), ("012", 12),
        ("0x10", 16), ("0o17", 15), ("no", "no"), ("on", "on"), ("1_000", "1_000"), ("1:30", "1:30"), ("~", None),
        ("", None), ("NULL", None), ("True", True), ("2020-01-01", "2020-01-01"), ("1e", "1e"), ("'1'", "1"),
        ("-.inf", float("-inf")), ("=", "="), ("<<", "<<"),
    ],
)  # fmt: skip
def test_scalars_follow_yaml_1_2(text: str, value: object) -> None:
    found = parse_yaml(f"key: {text}", "text").tree["key"]
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("lr: 1e-3", "lr: fast", "c.yaml:7: train.lr: want a number"),
        ("lr: 1e-3", "rl: 1e-3", "c.yaml:7: train.rl: unknown key; did you mean 'lr'?"),
        ("  bars: bars", "  bras: bars", "c.yaml:2: data.bras: unknown key; did you mean 'bars'?"),
        ("  bars: bars\n", "", "c.yaml:1: data.bars: is required"),
        ("  type: gru", "  hidden_size: 4", "c.yaml:4: model.type: is required"),
        ("  type: gru", "  type: gru\n  type: lstm", "c.yaml:6: model.type: given twice, first on line 5"),
        ("  lr: 1e-3", "  1: 1e-3", "c.yaml:7: train: want text for a key"),
        ("  lr: 1e-3", "  lr: !!python/name:os.system x", "c.yaml:7: tag tag:yaml.org,2002:python/name:os.system"),
        ("  lr: 1e-3", "  lr: [1", "c.yaml:8: not valid YAML"),
        ("  lr: 1e-3", "  lr: 1\n---\na: 1", "c.yaml:8: not valid YAML"),
        ("  lr: 1e-3", "  lr: *x", "c.yaml:7: not valid YAML: found undefined alias"),
        ("  lr: 1e-3", "\tlr: 1", "c.yaml:7: not valid YAML"),
        ("  lr: 1e-3", "  lr: 1\x07", "c.yaml: not valid YAML"),
        ("  lr: 1e-3", '  "a\\nb": 1', "c.yaml:7: train.a b: unknown key"),
    ],
)
def test_errors_name_the_line(old: str, new: str, says: str) -> None:
    assert old in TEXT
    assert refused(TEXT.replace(old, new)).startswith(says)


def test_all_problems_are_found_in_the_order_of_the_file() -> None:
    text = TEXT.replace("lr: 1e-3", "lr: fast").replace("bars: bars", "bars: 3").replace("gru", "grue")
    keys = [line.split(": ")[1] for line in find_problems(text)]
    assert keys == ["data.bars", "model.type", "train.lr"]
    assert refused(text).endswith("(and 2 more; raybench check lists them)")


@pytest.mark.parametrize("text", ["", "# nothing\n", "[1, 2]", "gru"])
def test_what_is_no_mapping_is_refused(text: str) -> None:
    assert "want a mapping with the keys data and model" in refused(text)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    binary = tmp_path / "binary.yaml"
    binary.write_bytes(b"a: \xff\xfe")
    for path, says in ((tmp_path / "none.yaml", "no such file"), (tmp_path, "a folder"), (binary, "UTF-8")):
        with pytest.raises(ConfigError, match=says):
            load_config(path)


def test_aliases_cannot_grow_without_bound() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 12)]
    assert "aliases expanded" in refused("\n".join(lines))
    assert "levels deep" in refused("a: &a [*a]")


def test_depth_and_size_are_bounded() -> None:
    assert "levels deep" in refused("a: " + "[" * 5_000)
    assert "levels deep" in refused("\n".join(" " * i + "a:" for i in range(500)))
    assert "characters" in refused("a: " + "x" * 2_000_000)
    assert "values" in refused("a: [" + "1," * 40_000 + "]")
    assert "want key.path=value" in refused(TEXT, "a." * 3_000 + "b=1")


def test_an_alias_is_the_value_it_stands_for() -> None:
    text = TEXT.replace("type: gru", "type: gru\n  hidden_size: &size 32\n  num_layers: *size")
    assert parse_config(text).model.kwargs["num_layers"] == 32


def test_overrides_reach_every_key() -> None:
    config = parse_config(
        TEXT,
        overrides=[
            "train.lr=2e-4",
            "train.early_stop.metric=rank_ic",
            "data.segments.test=[2018-01-01, 2019-01-01]",
            "data.processors.infer=[{class: ZScoreNorm}, Fillna]",
            "data.processors.infer.0.kwargs.fields_group=feature",
            "model.type=lstm",
            "tune.space.train.lr={uniform: [1e-4, 1e-3]}",
            "evaluate.benchmark=",
        ],
    )
    assert config.train.lr == 2e-4
    assert config.train.early_stop.metric == "rank_ic"
    assert config.data.segments.test[0].isoformat() == "2018-01-01"
    assert config.data.processors.infer[0].kwargs["fields_group"] == "feature"
    assert config.model.type == "lstm"
    assert list(config.search_space) == ["train.lr"]
    assert config.evaluate.benchmark is None


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("train.lr", "want key.path=value"),
        ("=3", "want key.path=value"),
        ("train..lr=3", "want key.path=value"),
        ("train.lr.x=3", "lr is not a mapping"),
        ("data.segments.train.first=2010-01-01", "train is a list of 2, entered by a number"),
        ("train.lr=[1", "not valid YAML"),
        ("train.lr=fast", "override 'train.lr=fast': train.lr: want a number"),
    ],
)
def test_overrides_that_cannot_be(override: str, says: str) -> None:
    message = refused(TEXT, override)
    assert repr(override) in message
    assert says in message


LR_AND_PATIENCE = {  # on Alpha158, then on Alpha360; where Qlib has no such benchmark, as on the other
    "gru": ((2e-4, 10), (1e-3, 20)),
    "lstm": ((1e-3, 10), (1e-3, 20)),
    "alstm": ((1e-3, 10), (1e-3, 20)),
    "transformer": ((1e-4, 5), (1e-4, 5)),
    "localformer": ((1e-4, 5), (1e-4, 5)),
    "tcn": ((1e-4, 20), (1e-3, 20)),
    "krnn": ((1e-3, 20), (1e-3, 20)),
    "gats": ((1e-4, 10), (1e-4, 20)),
    "hist": ((1e-4, 20), (1e-4, 20)),
    "tra": ((1e-3, 20), (1e-3, 20)),
    "tabnet": ((1e-2, 20), (1e-2, 20)),
    "sandwich": ((1e-3, 20), (1e-3, 20)),
    "mlp": ((2e-3, 16), (2e-3, 8)),  # 1000 steps in epochs
}
OTHER_WINDOWS = {  # than 20 rows of 20 columns, and 60 of 6
    "tra_alpha158": (60, 20),
    "tabnet_alpha158": (1, 158),
    "mlp_alpha158": (1, 157),
    "linear_alpha158": (1, 158),
    "lightgbm_alpha158": (1, 158),
    "persistence_alpha158": (1, 1),
}


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_configurations_that_are_shipped(path: Path) -> None:
    """Every key that has an effect, windows as long as the feature set has them, the pace of Qlib's benchmark."""
    config = load_config(path)
    network, features = path.stem.split("_")
    assert (config.model.type, config.data.feature_set.type) == (network, features)
    usual = {"alpha158": (20, 20), "alpha360": (60, 6)}[features]
    assert (config.data.step_len, config.data.num_features) == OTHER_WINDOWS.get(path.stem, usual)
    if network in LR_AND_PATIENCE:
        expected = LR_AND_PATIENCE[network][features == "alpha360"]
        assert (config.train.lr, config.train.early_stop.patience) == expected
    given, resolved = parse_yaml(path.read_text(), path.name).tree, parse_yaml(dump_config(config), "dump").tree
    assert {part: set(given[part]) for part in given if isinstance(given[part], dict)} == {
        part: set(resolved[part])
        for part in resolved
        if isinstance(resolved[part], dict) and part not in WITHOUT_EFFECT
    }


QLIBS: dict[str, tuple[int, int, int | None, float]] = {
    # parameters that are not dead, epochs, batch (None: a date), weight decay
    "gru_alpha158": (41_537, 200, 800, 0.0),
    "gru_alpha360": (38_849, 200, 800, 0.0),
    "lstm_alpha158": (55_361, 200, 800, 0.0),
    "lstm_alpha360": (51_777, 200, 800, 0.0),
    "alstm_alpha158": (53_505, 200, 800, 0.0),
    "alstm_alpha360": (52_609, 200, 800, 0.0),
    "transformer_alpha158": (563_713, 100, 8192, 1e-3),
    "transformer_alpha360": (562_817, 100, 2048, 1e-3),
    "localformer_alpha158": (638_337, 100, 8192, 1e-3),
    "localformer_alpha360": (637_441, 100, 2048, 1e-3),
    "tcn_alpha158": (70_337, 200, 2000, 0.0),
    "tcn_alpha360": (448_257, 200, 2000, 0.0),
    "krnn_alpha360": (1_889, 200, 2000, 0.0),
    "gats_alpha158": (63_809, 200, None, 0.0),
    "gats_alpha360": (60_225, 200, None, 0.0),
    "hist_alpha360": (80_897, 200, None, 0.0),
    "tabnet_alpha158": (461_093, 100, 4096, 0.0),
    "tabnet_alpha360": (567_345, 100, 4096, 0.0),
    "sandwich_alpha360": (4_937, 200, 2000, 0.0),
}


@pytest.mark.parametrize("name", QLIBS)
def test_hyper_parameters_are_qlibs(name: str) -> None:
    parameters, epochs, batch, decay = QLIBS[name]
    config = load_config(Path(__file__).parents[2] / "configs" / f"{name}.yaml")
    features, train = config.data.num_features, config.train
    assert features is not None
    assert config.model.parameter_count(features, config.data.step_len) == parameters
    assert (train.max_epochs, train.weight_decay) == (epochs, decay)
    assert config.model.batches == ("dates" if batch is None else "windows")
    assert (train.dates_per_batch is None) if batch is None else (train.batch_size == batch)  # one worker: one date
    assert (train.optimizer, train.grad_clip_value) == ("adam", 3.0)
    assert train.early_stop.metric == ("ic" if name.startswith("hist") else "loss")


def test_the_shipped_configurations_are_there() -> None:
    assert {path.stem for path in CONFIGS} >= set(QLIBS)


CONTRACT = """\
version: 1
data:
  bars: s3://bucket/cn/bars
  universe: csi300
  feature_set: {type: alpha158, columns: [RESI5, WVMA5]}
  label: "Ref($close, -2) / Ref($close, -1) - 1"
  step_len: 20
  segments: {train: [2010-01-01, 2014-12-31], valid: [2015-01-01, 2016-12-31], test: [2017-01-01, 2020-08-01]}
  processors:
    infer:
      - {class: RobustZScoreNorm, kwargs: {fields_group: feature, clip_outlier: true}}
      - {class: Fillna, kwargs: {fields_group: feature}}
    learn: [{class: DropnaLabel}, {class: CSRankNorm, kwargs: {fields_group: label}}]
  residency: auto
  embargo: 0
model: {type: gru, hidden_size: 64, num_layers: 2, dropout: 0.0}
train: {max_epochs: 200, batch_size: 800, lr: 2e-4, optimizer: adam, loss: mse, grad_clip_value: 3.0,
        early_stop: {metric: loss, patience: 10}, seed: 0, precision: fp32}
cluster: {num_workers: 2, use_gpu: auto, max_failures: 3}
tune:
  num_samples: 8
  metric: rank_ic
  mode: max
  scheduler: {type: asha, grace_period: 1, reduction_factor: 2}
  search: {type: random, seed: 0}
  space: {model.hidden_size: {choice: [16, 32, 64]}, model.dropout: {uniform: [0.0, 0.5]},
          train.lr: {loguniform: [1e-4, 1e-2]}}
evaluate: {benchmark: SH000300, account: 1e8, topk: 50, n_drop: 5, deal_price: close, limit_threshold: 0.095,
           open_cost: 0.0005, close_cost: 0.0015, min_cost: 5}
recipe: raybench
"""


def test_the_optional_parts_default_to_what_the_contract_says() -> None:
    given = parse_config(CONTRACT)
    tree = parse_yaml(CONTRACT, "contract").tree
    least = {key: tree[key] for key in ("data", "model")}
    least["data"] = {key: tree["data"][key] for key in ("bars", "universe", "feature_set", "segments")}
    defaults = load_config(least)
    assert defaults.search_space == given.search_space
    assert load_config(defaults, ["cluster.num_workers=2"]) == load_config(given, ["tune.space="])


EVERYTHING = [
    "train.lr=1.2345678901234567e-5",
    "train.lr_schedule={type: plateau, factor: 0.3}",
    "train.sample_weight={type: time_decay, half_life: 250}",
    "train.grad_clip_norm=1.0",
    "data.processors.learn=[DropnaLabel, {class: ZScoreNorm, kwargs: {fit_end_time: 2012-01-01}}]",
    "data.start=2009-01-01",
    "data.universe='1e3'",
    "tune={space: {model.dropout: {uniform: [0, 0.5]}, train.optimizer: {choice: [adam, sgd]}}}",
    "tune.scheduler={type: fifo}",
    "cluster.use_gpu=true",
    "evaluate.limit_threshold=",
]


@pytest.mark.parametrize(
    "overrides", [[], EVERYTHING, ["model={type: 'my.net:Net', names: ['no', '012', '2020-01-01']}"]]
)
def test_what_is_dumped_reads_back_equal(overrides: list[str]) -> None:
    config = parse_config(TEXT, overrides=overrides)
    text = dump_config(config)
    assert parse_config(text) == config
    assert dump_config(parse_config(text)) == text
    # a reader of YAML 1.1 finds the same
    assert load_config(yaml.safe_load(text)) == config


@pytest.mark.parametrize("value", ["no", "1e3", "1.0", "012", "0x1", "~", "", "2020-01-01", "a: b", "x\ny", "=", "1_0"])
def test_text_stays_text(value: str) -> None:
    text = dump_yaml({"key": value})
    assert parse_yaml(text, "text").tree == {"key": value}
    assert yaml.safe_load(text) == {"key": value}


def test_absolute_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    config = with_absolute_paths(parse_config(TEXT))
    assert config.data.bars == str(tmp_path / "bars")
    assert with_absolute_paths(parse_config(TEXT, overrides=["data.bars=s3://b/x"])).data.bars == "s3://b/x"


def test_configs_and_their_errors_cross_processes() -> None:
    config = parse_config(TEXT, overrides=EVERYTHING)
    assert pickle.loads(pickle.dumps(config)) == config
    with pytest.raises(ConfigError) as caught:
        parse_config("a: 1")
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


def test_a_mapping_from_json_will_do() -> None:
    tree: dict[str, Any] = parse_yaml(dump_config(parse_config(TEXT)), "dump").tree
    assert load_config(json.loads(json.dumps(tree))) == parse_config(TEXT)


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("lr=3", "lr: unknown key; did you mean train.lr?"),
        ("step_len=3", "did you mean data.step_len?"),
        ("num_workers=3", "did you mean cluster.num_workers?"),
        ("hidden_size=3", "did you mean model.hidden_size?"),
    ],
)
def test_an_override_without_its_part_names_it(override: str, told: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(f"override {override!r}: ")) as raised:
        load_config(CONFIGS[0], [override])
    assert told in str(raised.value)


def test_an_override_that_is_given_twice_is_refused() -> None:
    told = re.escape("override 'train.lr=2': train.lr is given twice, also as 'train.lr=1'")
    with pytest.raises(ConfigError, match=told):
        load_config(CONFIGS[0], ["train.lr=1", "train.seed=3", "train.lr=2"])
