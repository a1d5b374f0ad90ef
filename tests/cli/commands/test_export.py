"""``raybench export --format onnx``: what onnxruntime makes of the file, and what is refused."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import torch

import raybench
from raybench.cli.app import run as command
from raybench.config import load_config
from raybench.errors import ArgumentError
from raybench.models import build
from raybench.processors import FittedProcessors
from raybench.runs.artifact import StoredRun, begin_run, write_run

Captured = pytest.CaptureFixture[str]

COLUMNS = ("KMID", "ROC5", "STD5")
OWN = """
from pathlib import Path
from torch import nn
from torch.nn.functional import dropout

Path("imported").touch()


class Net(nn.Module):
    def __init__(self, num_features, noisy=False):
        super().__init__()
        self.layer, self.noisy = nn.Linear(num_features, 1), noisy

    def forward(self, x):
        return self.layer(dropout(x[:, -1], 0.5, training=self.noisy))[:, 0]
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with a network of one's own in it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path)])
    monkeypatch.delitem(sys.modules, "own_network", raising=False)
    (tmp_path / "own_network.py").write_text(OWN)
    return tmp_path


SECOND = {
    "bars": "/data/hourly",
    "feature_set": {"type": "alpha158", "columns": ["KLEN", "KLOW"]},
    "step_len": 7,
    "processors": {"infer": []},
}


def run_of(out: Path, model: dict[str, Any], second: dict[str, Any] | None = None) -> StoredRun:
    """Write a run whose weights are as they are drawn."""
    feature_set = {"type": "alpha158", "columns": list(COLUMNS)}
    days = {"train": ["2010-01-01", "2012-12-31"], "valid": ["2013-01-01", "2013-12-31"]}
    config = load_config(
        {
            "data": {
                "bars": "/data/bars",
                "feature_set": feature_set,
                "step_len": 5,
                "second": second,
                "processors": {"infer": [], "learn": []},
                "segments": {**days, "test": ["2014-01-01", "2014-12-31"]},
            },
            "model": model,
        }
    )
    begin_run(str(out), config)
    torch.manual_seed(0)
    network = build(model, feature_set=feature_set, step_len=5, second_features=config.data.second_features)
    return write_run(
        str(out),
        config=config,
        weights=network.state_dict(),
        processors=FittedProcessors(table_columns=COLUMNS, infer=(), learn=()),
        second_processors=second and FittedProcessors(table_columns=("KLEN", "KLOW"), infer=(), learn=()),
        history=[],
        best_epoch=0,
        began=datetime(2026, 1, 2, tzinfo=UTC),
        facts={"model": model["type"], "data_fingerprint": "abc"},
    )


def export(run: str, to: str, *more: str) -> int:
    return command(["export", "--model", run, "--to", to, "--format", "onnx", "--quiet", *more])


def test_the_file_scores_any_number_of_windows(folder: Path, capsys: Captured) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    model = {"type": "gru", "hidden_size": 4, "num_layers": 1}
    run = run_of(folder / "run", model)
    assert export("run", "model.onnx", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert told["inputs"] == {"x": ["N", 5, 3]}
    assert told["difference_to_torch"] < 1e-5
    assert told["bytes"] == (folder / "model.onnx").stat().st_size

    session = onnxruntime.InferenceSession("model.onnx", providers=["CPUExecutionProvider"])
    (asked,) = session.get_inputs()
    assert (asked.name, asked.type, asked.shape[1:]) == ("x", "tensor(float)", [5, 3])
    facts = session.get_modelmeta().custom_metadata_map
    assert json.loads(facts.pop("columns")) == list(COLUMNS)
    assert facts == {"run_id": run.run_id, "model": "gru", "feature_set": "alpha158", "step_len": "5"}
    network = build(model, feature_set={"type": "table", "columns": list(COLUMNS)}, step_len=5).eval()
    network.load_state_dict(run.weights)
    for number in (1, 17):
        x_NWF = torch.randn(number, 5, 3)
        (score_N,) = session.run(None, {"x": x_NWF.numpy()})
        torch.testing.assert_close(torch.from_numpy(score_N), network(x_NWF).detach(), atol=1e-5, rtol=1e-5)


def test_the_function_writes_what_the_command_writes(folder: Path) -> None:
    pytest.importorskip("onnxruntime")
    run = run_of(folder / "run", {"type": "gru", "hidden_size": 5, "num_layers": 2})
    assert export("run", "one.onnx") == 0
    done = raybench.export(run, folder / "two.onnx")
    assert (done.run_id, done.bytes) == (run.run_id, (folder / "two.onnx").stat().st_size)
    assert (folder / "two.onnx").read_bytes() == (folder / "one.onnx").read_bytes()
    with pytest.raises(ArgumentError, match=r"to= is missing"):
        raybench.export(run)
    with pytest.raises(ArgumentError, match=r"format='csv' is not known; want 'onnx'"):
        raybench.export(run, folder / "two.csv", format="csv")


def test_a_second_window_is_an_input_too(folder: Path, capsys: Captured) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    run_of(folder / "run", {"type": "lstm", "hidden_size": 4, "num_layers": 1}, SECOND)
    assert export("run", "model.onnx", "--json") == 0
    assert json.loads(capsys.readouterr().out)["inputs"] == {"x": ["N", 5, 3], "second": ["N", 7, 2]}
    facts = onnxruntime.InferenceSession("model.onnx").get_modelmeta().custom_metadata_map
    assert (json.loads(facts["second_columns"]), facts["second_step_len"]) == (["KLEN", "KLOW"], "7")


def test_trees_have_no_form_in_onnx(folder: Path, capsys: Captured) -> None:
    pytest.importorskip("onnxruntime")
    pytest.importorskip("lightgbm")
    run_of(folder / "run", {"type": "lightgbm"})
    assert export("run", "model.onnx") == 2
    assert "holds lightgbm, which is no computation of tensors" in capsys.readouterr().err


def test_a_run_with_its_own_code_needs_trust(folder: Path, capsys: Captured) -> None:
    pytest.importorskip("onnxruntime")
    run_of(folder / "run", {"type": "own_network:Net"})
    (folder / "imported").unlink()
    del sys.modules["own_network"]
    assert export("run", "model.onnx") == 2
    said = capsys.readouterr().err
    assert "asks for its own code own_network:Net; add --trust" in said
    assert said.count("\n") == 1
    assert not (folder / "imported").exists()
    assert not (folder / "model.onnx").exists()
    assert export("run", "model.onnx", "--trust") == 0
    assert (folder / "model.onnx").exists()


def test_a_file_that_scores_differently_is_not_published(folder: Path, capsys: Captured) -> None:
    pytest.importorskip("onnxruntime")
    run_of(folder / "run", {"type": "own_network:Net", "noisy": True})
    assert export("run", "model.onnx", "--trust") == 2
    assert "scores differently in onnxruntime" in capsys.readouterr().err
    assert not (folder / "model.onnx").exists()


def test_without_the_extra_it_says_what_to_install(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    monkeypatch.setattr("raybench.scoring.onnx.find_spec", lambda name: None)
    assert export("run", "model.onnx") == 2
    assert "pip install 'raybench[onnx]'" in capsys.readouterr().err


def test_a_folder_is_no_file(folder: Path, capsys: Captured) -> None:
    pytest.importorskip("onnxruntime")
    run_of(folder / "run", {"type": "gru", "hidden_size": 2, "num_layers": 1})
    assert export("run", str(folder)) == 2
    assert "is a folder" in capsys.readouterr().err


def test_only_a_file_of_its_own_is_replaced(folder: Path, capsys: Captured) -> None:
    pytest.importorskip("onnxruntime")
    run_of(folder / "run", {"type": "gru", "hidden_size": 2, "num_layers": 1})
    assert [export("run", "model.onnx"), export("run", "model.onnx")] == [0, 0]
    for name in ("run/model.safetensors", "run/manifest.json", "empty"):
        (folder / "empty").touch()
        before = (folder / name).read_bytes()
        assert export("run", name) == 2
        assert f"{name}, a file that no export of raybench wrote" in capsys.readouterr().err
        assert (folder / name).read_bytes() == before
