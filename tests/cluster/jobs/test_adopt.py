"""Adopted weights score like trained ones, and only what fits is adopted."""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from raybench import models
from raybench.cli.app import run as command
from raybench.cluster.jobs.adoption import adopt
from raybench.cluster.jobs.scoring import score
from raybench.config import Config, dump_config
from raybench.errors import RunError
from raybench.runs.artifact import load_run
from raybench.scoring.table import read_scores
from raybench.storage import files

pytestmark = pytest.mark.ray

MakeConfig = Callable[..., Config]
MakeRun = Callable[[Config], str]


def weights_of(config: Config, *, seed: int = 0, **model: object) -> dict[str, Tensor]:
    """Weights as Qlib would save them, drawn for the network of ``config`` with other keys."""
    torch.manual_seed(seed)
    features = config.data.feature_set.model_dump()
    return models.build(config.model.model_dump() | model, feature_set=features, step_len=8).state_dict()


@pytest.fixture
def weights(make_config: MakeConfig, tmp_path: Path) -> str:
    path = tmp_path / "weights.pkl"
    torch.save(OrderedDict(weights_of(make_config())), path)
    return str(path)


@pytest.mark.shared
@pytest.mark.parametrize("name", ["qlib.pkl", "qlib.pt", "qlib.safetensors"])
def test_weights_from_qlib_score(
    local_ray: None,
    shared: Path,
    make_config: MakeConfig,
    make_run: MakeRun,
    market_bars: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    name: str,
) -> None:
    oracle = load_file(shared / "oracle" / "models" / "gru_alpha158.safetensors")
    state = OrderedDict((k.removeprefix("state."), v) for k, v in oracle.items() if k.startswith("state."))
    path, run = tmp_path / name, str(tmp_path / "run")
    save_file(state, path) if name.endswith("safetensors") else torch.save(state, path)
    config = make_config(model__hidden_size=64, model__num_layers=2)
    (tmp_path / "config.yaml").write_text(dump_config(config))
    line = ["adopt", "--weights", str(path), "--config", str(tmp_path / "config.yaml"), "--out", run, "--quiet"]
    assert command([*line, "--json"]) == 0
    summary = json.loads(capsys.readouterr().out)
    assert summary["adopted_from"]["name"] == name
    assert summary["parameters"] == 41537

    adopted = load_run(run)
    network = models.build(config.model.model_dump(), feature_set=config.data.feature_set.model_dump(), step_len=20)
    network.load_state_dict(adopted.weights)
    np.testing.assert_allclose(network(oracle["input"]).detach(), oracle["output"], atol=1e-6, rtol=1e-5)
    assert adopted.processors.to_json() == load_run(make_run(config)).processors.to_json()

    done = score(run, bars=market_bars, to=str(tmp_path / "scores"), start="2015-12-28", local=True)
    assert done.rows == len(read_scores(str(tmp_path / "scores"))) > 20


def test_ray_and_this_process_fit_the_same(
    local_ray: None, make_config: MakeConfig, weights: str, tmp_path: Path
) -> None:
    runs = [adopt(make_config(), weights=weights, out=str(tmp_path / str(here)), local=here) for here in (True, False)]
    assert runs[0].manifest["sha256"] == runs[1].manifest["sha256"]
    assert runs[0].manifest["data_fingerprint"] == runs[1].manifest["data_fingerprint"]


def test_an_adopted_run_can_be_evaluated(
    local_ray: None, make_config: MakeConfig, market_bars: str, weights: str, tmp_path: Path
) -> None:
    run, scores = str(tmp_path / "run"), str(tmp_path / "scores")
    adopt(make_config(), weights=weights, out=run)
    score(run, bars=market_bars, to=scores, start="2015-11-02", local=True)
    line = ["evaluate", "--scores", scores, "--bars", market_bars, "--model", run, "--out", str(tmp_path / "e")]
    assert command([*line, "--quiet"]) == 0
    assert "Rank IC" in json.loads((tmp_path / "e" / "metrics.json").read_text())


def test_the_same_again_is_the_run_that_is_there_and_others_are_refused(
    local_ray: None, make_config: MakeConfig, weights: str, tmp_path: Path
) -> None:
    out, other = str(tmp_path / "run"), str(tmp_path / "other.safetensors")
    first = adopt(make_config(), weights=weights, out=out)
    assert adopt(make_config(), weights=weights, out=out).run_id == first.run_id
    save_file(weights_of(make_config(), seed=1), other)
    with pytest.raises(RunError, match=r"adopted from weights\.pkl, which is not .*other\.safetensors"):
        adopt(make_config(), weights=other, out=out)
    with pytest.raises(RunError, match="another configuration"):
        adopt(make_config(data__step_len=9), weights=weights, out=out)
    assert load_run(out).run_id == first.run_id


def test_a_training_is_not_replaced(make_config: MakeConfig, make_run: MakeRun, weights: str, tmp_path: Path) -> None:
    with pytest.raises(RunError, match="trained here"):
        adopt(make_config(), weights=weights, out=make_run(make_config()))
    (tmp_path / "begun" / "checkpoints").mkdir(parents=True)
    (tmp_path / "begun" / "config.yaml").write_text(dump_config(make_config()))
    with pytest.raises(RunError, match="holds a training"):
        adopt(make_config(), weights=weights, out=str(tmp_path / "begun"))


def test_an_interrupted_adoption_is_done_again(
    local_ray: None, make_config: MakeConfig, weights: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, calls = str(tmp_path / "run"), 0

    def fail_at_the_fourth(step: str, uri: str) -> None:
        nonlocal calls
        calls += step == "rename"
        if step == "rename" and calls == 4:
            raise OSError("disk gone")

    with monkeypatch.context() as patch:
        patch.setattr(files, "_checkpoint", fail_at_the_fourth)
        with pytest.raises(OSError, match="disk gone"):
            adopt(make_config(), weights=weights, out=out)
    with pytest.raises(RunError, match="not a finished run"):
        load_run(out)
    assert adopt(make_config(), weights=weights, out=out).run_id == load_run(out).run_id


def broken(name: str, config: Config) -> dict[str, Tensor]:
    state = weights_of(config)
    match name:
        case "shape":
            return weights_of(config, hidden_size=9)
        case "layers":
            return weights_of(config, num_layers=2)
        case "missing":
            del state["fc_out.bias"]
        case "nan":
            state["fc_out.bias"] = torch.tensor([float("nan")])
    return state


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("shape", "rnn.weight_ih_l0 is [27, 20], wanted [24, 20]"),
        ("layers", "unexpected"),
        ("missing", "fc_out.bias missing"),
        ("nan", "fc_out.bias holds NaN"),
        ("nowhere", "there is no such file"),
        ("text", "is no file of weights"),
    ],
)
def test_what_does_not_fit_is_refused_before_anything_is_done(
    make_config: MakeConfig, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, says: str
) -> None:
    path, out = tmp_path / "weights.pt", tmp_path / "run"
    if name == "text":
        path.write_text("no weights")
    elif name != "nowhere":
        torch.save(broken(name, make_config()), path)
    (tmp_path / "config.yaml").write_text(dump_config(make_config()))
    line = ["adopt", "--weights", str(path), "--config", str(tmp_path / "config.yaml"), "--out", str(out)]
    assert command(line) == 2
    out_text, err = capsys.readouterr()
    assert (out_text, err.count("\n")) == ("", 1)
    assert says in err
    assert "weights.pt" in err
    assert not out.exists()
