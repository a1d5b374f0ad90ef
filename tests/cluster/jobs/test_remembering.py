"""TRA from its training to its scores: a run that keeps what it remembers, and whoever scores it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from raybench.cli.app import run as command
from raybench.cluster.jobs.explaining import explain
from raybench.cluster.jobs.features import write_features as build_features
from raybench.cluster.jobs.scoring import score
from raybench.cluster.jobs.training import train
from raybench.config import Config
from raybench.config.data.alpha_names import BENCHMARK_20
from raybench.errors import ConfigError, RunError
from raybench.runs.artifact import load_run
from raybench.scoring.table import read_scores
from raybench.storage import files, parquet
from raybench.training.network import build_model
from tests.cluster.scored import bytes_of, days_of, tables_of

pytestmark = pytest.mark.ray
MakeConfig = Callable[..., Config]
START, END = "2015-08-03", "2015-09-11"


@pytest.fixture(scope="module")
def config(make_config: MakeConfig) -> Config:
    model = {"type": "tra", "model_config": {"hidden_size": 8, "num_layers": 1}, "tra_config": {"hidden_size": 4}}
    return make_config(model=json.dumps(model), train__max_epochs=1)


@pytest.fixture(scope="module")
def trained(local_ray: None, config: Config, tmp_path_factory: pytest.TempPathFactory) -> str:
    out = str(tmp_path_factory.mktemp("remembering") / "run")
    train(config, out=out)
    return out


@pytest.fixture(scope="module")
def whole(trained: str, market_bars: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    to = str(tmp_path_factory.mktemp("whole") / "scores")
    score(trained, bars=market_bars, to=to, start=START, end=END, local=True)
    return to


def test_a_run_keeps_what_it_remembers(trained: str, config: Config, tmp_path: Path) -> None:
    run = load_run(trained)
    assert run.memory is not None
    assert str(run.memory.last)[:10] == "2015-07-31"
    assert len(run.memory.dates) == config.data.step_len + 2
    assert run.memory.loss_NTK.shape == (len(run.memory.instruments), len(run.memory.dates), 3)
    assert (run.memory.loss_NTK > 0).any(dim=(0, 2)).all()
    assert len(run.history) == 2, "a pretraining of one epoch, and one"

    broken = tmp_path / "run"
    shutil.copytree(trained, broken)
    content = bytearray((broken / "memory.safetensors").read_bytes())
    content[-1] ^= 1
    (broken / "memory.safetensors").write_bytes(content)
    with pytest.raises(RunError, match=r"memory\.safetensors differs"):
        load_run(str(broken))


def test_actors_and_parts_of_the_range_give_the_same_bytes(
    trained: str, market_bars: str, whole: str, tmp_path: Path
) -> None:
    score(trained, bars=market_bars, to=str(tmp_path / "ray"), start=START, end=END)
    assert bytes_of(tmp_path / "ray") == bytes_of(whole)
    days = days_of(whole)
    score(trained, bars=market_bars, to=str(tmp_path / "part"), start=days[12], end=days[14], local=True)
    assert bytes_of(tmp_path / "part") == {day: bytes_of(whole)[day] for day in days[12:15]}


def test_features_with_labels_do_as_bars_and_without_there_is_a_warning(
    trained: str, market_bars: str, whole: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    features, bare = str(tmp_path / "features"), str(tmp_path / "bare.parquet")
    build_features(market_bars, "alpha158", features, local=True)
    inputs = {"bars": market_bars, "features": features, "start": START, "end": END, "local": True}
    done = score(trained, to=str(tmp_path / "labels"), **inputs)
    assert done.warnings == ()
    assert tables_of(tmp_path / "labels") == tables_of(whole)

    table = parquet.read_table(parquet.parquet_files(features))
    files.publish_table(bare, table.drop_columns(["LABEL0"]))
    line = ["score", "--model", trained, "--bars", market_bars, "--features", bare, "--to", str(tmp_path / "bare")]
    assert command([*line, "--start", START, "--end", END, "--local", "--json", "--quiet"]) == 0
    printed = capsys.readouterr()
    assert json.loads(printed.out.splitlines()[-1])["rows"] == len(read_scores(whole))
    assert printed.err.count("\n") == 1
    assert "up to 2015-07-31 only" in printed.err


def test_it_is_explained_by_the_scores_that_it_gives(
    trained: str, market_bars: str, whole: str, tmp_path: Path
) -> None:
    day = days_of(whole)[10]
    done = explain(trained, bars=market_bars, date=day, out=str(tmp_path), repeats=1)
    np.testing.assert_allclose(done.explanation.score_N, read_scores(whole, day, day)["score"], atol=1e-6)
    assert {name.partition(".")[0] for name in done.explanation.hidden} == {"model"}


def test_it_is_exported_with_its_memory_as_an_input(trained: str, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    from raybench.scoring.onnx import export_onnx

    exported = export_onnx(trained, to=str(tmp_path / "model.onnx"))
    assert exported.inputs["hist_loss"] == ("N", 6, 3)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"data__residency": "streaming"}, "data.residency"),
        ({"train__accumulate_steps": 2}, "train.accumulate_steps"),
        ({"train__accumulate_steps": 2, "model": "{type: tests.models.own_loss:OwnLoss}"}, "train.accumulate_steps"),
    ],
)
def test_what_it_cannot_do_is_refused(make_config: MakeConfig, changes: dict[str, object], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        build_model(make_config(**{"model": "{type: tra}", **changes}), BENCHMARK_20)
