"""Training in one process, without Ray: the same run, and nothing lost when it is stopped."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml

from raybench.cli.app import run as command
from raybench.cluster import choice
from raybench.cluster.jobs import training
from raybench.config import Config, dump_config, load_config
from raybench.config.panel_spec import PanelSpec
from raybench.errors import ConfigError, UserError
from raybench.panel import Panel
from raybench.panel.build import build_panel
from raybench.runs.artifact import StoredRun
from raybench.storage import files
from tests.cluster.trained import assert_same_training
from tests.cluster.watch import Watch

MakeConfig = Callable[..., Config]
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def config(make_config: MakeConfig) -> Config:
    """One worker, with dropout: every random draw has to come again."""
    changes = {"train__max_epochs": 4, "train__batch_size": 60, "model__dropout": 0.2, "model__num_layers": 2}
    return make_config(**changes, cluster__num_workers=1)


@pytest.fixture(scope="module")
def here(config: Config, tmp_path_factory: pytest.TempPathFactory) -> StoredRun:
    return training.train(config, out=str(tmp_path_factory.mktemp("here") / "run"), local=True)


@pytest.mark.ray
@pytest.mark.parametrize("network", ["gru", "gats", "linear", "lstm"])
def test_ray_and_this_process_train_the_same(
    make_config: MakeConfig, tmp_path: Path, local_ray: None, network: str
) -> None:
    model = {"gru": "{type: gru, hidden_size: 8}", "gats": "{type: gats, hidden_size: 8}", "linear": "{type: linear}"}
    model["lstm"] = "{type: lstm, hidden_size: 8}"
    config = make_config(model=model[network], cluster__num_workers=1, cluster__fused_layers=network == "lstm")
    assert_same_training(
        training.train(config, out=str(tmp_path / "here"), local=True),
        training.train(config, out=str(tmp_path / "ray"), local=False),
    )


def test_no_date_of_the_test_segment_is_needed(
    config: Config, here: StoredRun, make_config: MakeConfig, tmp_path: Path
) -> None:
    """It may lie in the future: nothing is learned from it, and what is learned is the same."""
    text = dump_config(config).replace("test: [2015-08-03, 2015-12-31]", "test: [2040-01-01, 2041-01-01]")
    changed = load_config(yaml.safe_load(text))
    assert changed.data.segments.test != config.data.segments.test
    run = training.train(changed, out=str(tmp_path / "run"), local=True)
    assert_same_training(run, here)
    assert set(run.manifest["samples"]) == {"train", "valid"}


def test_trainings_of_one_panel_prepare_it_once(
    make_config: MakeConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[PanelSpec] = []

    def counted(spec: PanelSpec, *args: Any, **options: Any) -> Panel:
        made.append(spec)
        return build_panel(spec, *args, **options)

    monkeypatch.setattr(training, "build_panel", counted)
    one = {"train__max_epochs": 1, "cluster__num_workers": 1}
    configs = {
        "seed": make_config(**one, train__seed=5),
        "rate": make_config(**one, train__lr=0.01, train__batch_size=40),
        "network": make_config(**one, model="{type: gats, hidden_size: 8}"),
        "window": make_config(**one, data__step_len=4),
    }
    runs = training.train_all({str(tmp_path / name): config for name, config in configs.items()}, local=True)
    assert [spec.data.step_len for spec in made] == [configs["seed"].data.step_len, 4]
    assert len({run.manifest["data_fingerprint"] for run in runs}) == 2
    for name, run in zip(configs, runs, strict=True):
        assert_same_training(training.train(configs[name], out=str(tmp_path / "alone" / name), local=True), run)


def test_a_killed_process_goes_on_with_resume(config: Config, here: StoredRun, tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(dump_config(config))
    command = [sys.executable, "-m", "raybench", "train", "config.yaml", "--out", "run", "--local"]
    process = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE)
    deadline = time.monotonic() + 120
    while len(list(tmp_path.glob("run/checkpoints/checkpoint_*/facts.json"))) < 2 and time.monotonic() < deadline:
        assert process.poll() is None, process.stderr and process.stderr.read().decode()
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert not (tmp_path / "run" / "manifest.json").exists()
    done = subprocess.run([*command, "--resume"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    again = training.train(config, out=str(tmp_path / "run"))
    assert_same_training(again, here)
    assert len(os.listdir(tmp_path / "run" / "checkpoints")) == 2
    assert not list(tmp_path.glob("**/*.staging"))


def test_dates_in_a_step_that_follow_the_workers_are_said(
    make_config: MakeConfig, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = {"model": "{type: gats, hidden_size: 8}", "train__dates_per_batch": "null", "train__max_epochs": 1}
    (tmp_path / "gats.yaml").write_text(dump_config(make_config(**model, cluster__num_workers=1)))
    line = ["train", str(tmp_path / "gats.yaml"), "--out", str(tmp_path / "run"), "--local", "-q"]
    assert command(line) == 0
    assert "1 whole date in a step, one for each worker" in capsys.readouterr().out
    assert command([*line, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["dates_per_batch"] == 1


@pytest.mark.parametrize(("name", "at"), [("state.pt", 3), ("facts.json", 2), ("model.safetensors", 1)])
def test_a_full_disk_is_one_line_and_room_is_all_that_resume_needs(
    config: Config, here: StoredRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, at: int
) -> None:
    seen: list[str] = []

    def full(step: str, uri: str) -> None:
        if step == "write" and uri.endswith(name):
            seen.append(uri)
            if len(seen) >= at:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    out = str(tmp_path / "run")
    with monkeypatch.context() as patch:
        patch.setattr(files, "_checkpoint", full)
        with pytest.raises(UserError, match=rf"{name}: cannot be written: No space left on device; make room"):
            training.train(config, out=out, local=True)
    assert not files.exists(f"{out}/manifest.json")
    assert_same_training(training.train(config, out=out, local=True, resume=True), here)


@pytest.mark.ray
def test_ray_goes_on_from_what_a_process_left(config: Config, here: StoredRun, tmp_path: Path, local_ray: None) -> None:
    def stop() -> None:
        raise KeyboardInterrupt

    out = str(tmp_path / "run")
    with pytest.raises(KeyboardInterrupt):
        training.train(config, out=out, local=True, progress=Watch(2, stop))
    assert_same_training(training.train(config, out=out, local=False, resume=True), here)


def test_one_worker_does_not_even_load_ray(config: Config, tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(dump_config(config))
    program = (
        "import sys; from raybench.cli.app import run; code = run(sys.argv[1:]); sys.exit('ray' in sys.modules or code)"
    )
    command = [sys.executable, "-c", program, "train", "config.yaml", "train.max_epochs=1", "--out", "run"]
    environment = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"} | {
        "TMPDIR": str(tmp_path)
    }
    if choice.runs_here():
        pytest.skip("a Ray cluster runs on this machine: it is joined")
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("change", ["cluster__num_workers=2", "data__residency=streaming"])
def test_what_one_process_cannot_do_is_refused(make_config: MakeConfig, tmp_path: Path, change: str) -> None:
    key, _, value = change.partition("=")
    config = make_config(**{"cluster__num_workers": 1, key: value})
    with pytest.raises(ConfigError, match=f"--local.*{key.replace('__', '.')}"):
        training.train(config, out=str(tmp_path / "run"), local=True)
    assert os.listdir(tmp_path) == []


def test_seeds_have_a_table_of_all_that_are_there(make_config: MakeConfig, tmp_path: Path) -> None:
    config, out = make_config(cluster__num_workers=1, train__max_epochs=1), str(tmp_path / "runs")
    first = training.train_seeds(config, [5], out=out, local=True)
    runs = training.train_seeds(config, [4, 5], out=out, local=True)
    assert runs[1].run_id == first[0].run_id
    table = pd.read_parquet(tmp_path / "runs" / "seeds.parquet")
    assert table[["run", "seed", "run_id"]].to_numpy().tolist() == [
        ["seed-4", 4, runs[0].run_id],
        ["seed-5", 5, runs[1].run_id],
    ]
    assert table["valid_rank_ic"].tolist() == [run.metrics["valid_rank_ic"] for run in runs]
    assert table["valid_loss"].nunique() == 2
