"""The run directory: whole or unfinished, verified when it is opened, and nothing in it runs code."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd
import pytest
import torch
from torch import Tensor

from raybench import models
from raybench.config import Config, load_config
from raybench.errors import RunError, UserError
from raybench.processors import FittedProcessors
from raybench.runs.artifact import begin_run, check_different, is_finished, load_run, stored_config, write_run
from raybench.storage import files
from raybench.training.state import EpochRecord

FILES = {"config.yaml", "model.safetensors", "processors.json", "history.parquet", "metrics.json", "manifest.json"}
BEGAN = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def config(seed: int = 3) -> Config:
    return load_config(
        {
            "data": {
                "bars": "/data/bars",
                "feature_set": {"type": "alpha158", "columns": ["KMID", "ROC5"]},
                "segments": {
                    "train": ["2010-01-01", "2012-12-31"],
                    "valid": ["2013-01-01", "2013-12-31"],
                    "test": ["2014-01-01", "2014-12-31"],
                },
                "processors": {"infer": [], "learn": []},
            },
            "model": {"type": "gru", "hidden_size": 4, "num_layers": 1},
            "train": {"seed": seed},
        }
    )


def epoch(number: int, valid_loss: float, valid_ic: float = 0.1) -> EpochRecord:
    return EpochRecord(
        epoch=number,
        seconds=1.5,
        samples_per_second=100.0,
        train_loss=0.9,
        valid_loss=valid_loss,
        valid_ic=valid_ic,
        valid_rank_ic=0.2,
        grad_norm=0.5,
        lr=1e-3,
    )


def made_up_weights() -> dict[str, Tensor]:
    network = models.build(config().model.model_dump(), feature_set={"columns": ["KMID", "ROC5"]}, step_len=20)
    state = {name: torch.linspace(0, 1 / 3, value.numel()) for name, value in network.state_dict().items()}
    shaped = {name: state[name].reshape(value.shape) for name, value in network.state_dict().items()}
    turned = shaped["rnn.weight_ih_l0"].T.contiguous().T  # not contiguous
    return {**shaped, "rnn.weight_ih_l0": turned}


WEIGHTS = made_up_weights()
HISTORY = [epoch(1, 0.99), epoch(2, 0.97), epoch(3, 0.98)]


def write(
    out: Path, *, weights: Mapping[str, Tensor] = WEIGHTS, history: list[EpochRecord] = HISTORY, seed: int = 3
) -> str:
    begin_run(str(out), config(seed))
    processors = FittedProcessors(table_columns=("KMID", "ROC5"), infer=(), learn=())
    write_run(
        str(out),
        config=config(seed),
        weights=weights,
        processors=processors,
        history=history,
        best_epoch=2 if history else 0,
        began=BEGAN,
        facts={"model": "gru", "data_fingerprint": "abc"},
    )
    return str(out)


def test_what_was_written_comes_back(tmp_path: Path) -> None:
    run = load_run(write(tmp_path / "run"))
    assert {path.name for path in (tmp_path / "run").iterdir()} == FILES
    assert run.config == config()
    assert run.processors.table_columns == ("KMID", "ROC5")
    assert {name: value.tolist() for name, value in run.weights.items()} == {
        name: value.tolist() for name, value in WEIGHTS.items()
    }
    assert list(run.history["epoch"]) == [1, 2, 3]
    assert run.metrics == {
        "best_epoch": 2,
        "train_loss": 0.9,
        "valid_loss": 0.97,
        "valid_ic": 0.1,
        "valid_rank_ic": 0.2,
    }
    assert stored_config(str(tmp_path / "run")) == config()


def test_the_manifest_says_what_from_what_when_with_what(tmp_path: Path) -> None:
    write(tmp_path / "run")
    manifest = json.loads((tmp_path / "run" / "manifest.json").read_text())
    assert manifest["started"] == "2026-01-02T03:04:05+00:00"
    assert manifest["finished"] > manifest["started"]
    assert (manifest["seed"], manifest["epochs"], manifest["best_epoch"]) == (3, 3, 2)
    assert manifest["segments"]["train"] == ["2010-01-01", "2012-12-31"]
    assert set(manifest["versions"]) == {"raybench", "torch", "ray"}
    assert set(manifest["sha256"]) == FILES - {"manifest.json"}
    assert manifest["data_fingerprint"] == "abc"


def test_the_id_depends_on_weights_and_manifest(tmp_path: Path) -> None:
    changed = {**WEIGHTS, "fc_out.bias": torch.tensor([0.4])}
    ids = {
        load_run(write(tmp_path / "a")).run_id,
        load_run(write(tmp_path / "b", weights=changed)).run_id,
        load_run(write(tmp_path / "c", seed=4)).run_id,
    }
    assert len(ids) == 3
    assert all(len(name) == 16 for name in ids)


def test_an_ic_that_no_date_has_is_null(tmp_path: Path) -> None:
    history = [epoch(1, 0.9), epoch(2, 0.8, valid_ic=float("nan"))]
    assert load_run(write(tmp_path / "run", history=history)).metrics["valid_ic"] is None


def test_weights_from_elsewhere_have_no_history(tmp_path: Path) -> None:
    run = load_run(write(tmp_path / "run", history=[]))
    assert run.metrics == {}
    assert run.history.empty
    assert "valid_rank_ic" in run.history


@pytest.mark.parametrize("step", ["stage", "write", "sync", "rename"])
def test_a_run_is_there_wholly_or_unfinished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    """Each call of the step fails in turn: until the last one, the directory is no finished run."""
    calls, at = 0, 0

    def fail(name: str, uri: str) -> None:
        nonlocal calls
        calls += name == step
        if name == step and calls == at:
            raise OSError("disk gone")

    for at in range(1, len(FILES) + 2):  # one for config.yaml as the run begins
        calls = 0
        with monkeypatch.context() as patch:
            patch.setattr(files, "_checkpoint", fail)
            with pytest.raises(OSError, match="disk gone"):
                write(tmp_path / f"run-{at}")
        assert not is_finished(str(tmp_path / f"run-{at}"))
        with pytest.raises(RunError, match="not a finished run"):
            load_run(str(tmp_path / f"run-{at}"))
    assert load_run(write(tmp_path / "run-1")).config == config()


@pytest.mark.parametrize("name", sorted(FILES - {"manifest.json"}))
def test_a_changed_or_missing_file_is_found(tmp_path: Path, name: str) -> None:
    run = write(tmp_path / "run")
    file = tmp_path / "run" / name
    file.write_bytes(file.read_bytes() + b" ")
    with pytest.raises(RunError, match=f"{name} differs"):
        load_run(run)
    file.unlink()
    with pytest.raises(UserError, match=f"run: {name} is not there, which manifest.json names; restore it"):
        load_run(run)


def changed_manifest(run: str, change: Callable[[dict[str, object]], object]) -> None:
    file = Path(run) / "manifest.json"
    manifest = json.loads(file.read_text())
    change(manifest)
    file.write_text(json.dumps(manifest))


def test_a_run_of_another_version_is_refused(tmp_path: Path) -> None:
    run = write(tmp_path / "run")
    changed_manifest(run, lambda manifest: manifest.update(schema_version=99))
    with pytest.raises(RunError, match="schema version 99, wanted 1"):
        load_run(run)


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"schema_version": 1}', '{"schema_version": 1, "sha256": []}'])
def test_a_broken_manifest_is_an_error_of_the_user(tmp_path: Path, text: str) -> None:
    run = write(tmp_path / "run")
    (Path(run) / "manifest.json").write_text(text)
    with pytest.raises(RunError, match="run"):
        load_run(run)


def test_nothing_is_there(tmp_path: Path) -> None:
    assert stored_config(str(tmp_path / "no")) is None
    assert not is_finished(str(tmp_path / "no"))
    with pytest.raises(RunError, match="not a finished run"):
        load_run(str(tmp_path / "no"))


def test_others_read_history_and_weights(tmp_path: Path) -> None:
    from safetensors.torch import load_file

    run = Path(write(tmp_path / "run"))
    assert list(pd.read_parquet(run / "history.parquet").columns) == list(EpochRecord.__dataclass_fields__)
    assert set(load_file(run / "model.safetensors")) == set(WEIGHTS)


def test_one_run_is_told_at_two_addresses(tmp_path: Path) -> None:
    """A copy counts twice where runs are combined, and compares with itself."""
    run, other = load_run(write(tmp_path / "a")), load_run(write(tmp_path / "b", seed=4))
    shutil.copytree(tmp_path / "a", tmp_path / "copy")
    check_different([run, other])
    for again, says in ((run, "a is given twice"), (load_run(str(tmp_path / "copy")), "a and .*copy are one run")):
        with pytest.raises(RunError, match=rf"{says} \({run.run_id}\); give each run once"):
            check_different([run, other, again])
