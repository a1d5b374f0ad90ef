"""Searches on a small market: what they leave, that a failure or a kill changes nothing, and what is refused."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from raybench.cluster.jobs import tuning, tuning_report
from raybench.cluster.jobs.training import train
from raybench.config import Config, dump_config, load_config
from raybench.errors import ConfigError, RunError, TrainingError
from raybench.runs.artifact import load_run
from raybench.search.draws import draws
from raybench.search.ledger import DONE, FAILED, STOPPED, Ledger, TrialRecord
from tests.cluster.conftest import MakeConfig

pytestmark = [pytest.mark.slow, pytest.mark.ray]

TIMES = ["seconds", "tries"]
SMALL = {"cluster__num_workers": 1, "cluster__cpus_per_worker": 1, "train__early_stop__patience": 50}
RATES = "{train.lr: {loguniform: [1e-5, 1e-2]}}"


@pytest.fixture
def small(make_config: MakeConfig) -> Callable[..., Config]:
    """A configuration to search, some keys changed; trials that take less than a second."""

    def make(**changes: Any) -> Config:
        return make_config(**{**SMALL, "tune__space": RATES, "tune__scheduler": "{type: fifo}", **changes})

    return make


@pytest.fixture
def unreported(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither test metrics nor figures, which take longer than such small trials."""
    monkeypatch.setattr(tuning_report, "_test", lambda *given: {})
    for name in ("to_html", "to_json"):
        monkeypatch.setattr(tuning_report, name, lambda report: "")


quickly = pytest.mark.usefixtures("unreported")


def test_a_search_leaves_the_best_trial_as_a_run_a_table_and_a_report(
    local_ray: None, small: Callable[..., Config], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = small(
        tune__num_samples=5, tune__scheduler="{type: asha}", train__max_epochs=4, tune__resources_per_trial="{cpu: 1}"
    )
    prepared = []
    original = tuning.prepare
    monkeypatch.setattr(tuning, "prepare", lambda *args, **more: prepared.append(args) or original(*args, **more))
    evaluated = []
    evaluate = tuning_report.evaluate_scores
    monkeypatch.setattr(
        tuning_report,
        "evaluate_scores",
        lambda *args, **more: evaluated.append(more["model"]) or evaluate(*args, **more),
    )
    found = tuning.search(config, out=str(tmp_path / "search"))
    assert len(prepared) == 1  # one panel, whatever the number of trials
    assert evaluated == [str(tmp_path / "search" / "best")], "test metrics are computed for the winner alone, once"

    trials = pd.read_parquet(tmp_path / "search" / "trials.parquet")
    assert list(trials.columns[:5]) == ["trial_id", "status", "epochs", "metric", "train.lr"]
    assert len(trials) == 5
    assert trials["metric"].is_monotonic_decreasing
    stopped = trials[trials["status"] == STOPPED]
    assert len(stopped), "ASHA stops none of five trials of very different rates"
    assert (stopped["epochs"] < 4).all()
    assert (stopped["stopped_epoch"] == stopped["epochs"]).all()
    assert set(trials["status"]) == {DONE, STOPPED}

    best = load_run(str(tmp_path / "search" / "best"))
    assert best.config.train.lr == trials["train.lr"].iloc[0]
    assert best.metrics["valid_rank_ic"] == trials["metric"].iloc[0] == found.best_trial.metric
    assert best.manifest["search"]["trial"] == trials["trial_id"].iloc[0]
    alone = train(best.config, out=str(tmp_path / "alone"), local=True)
    for name, weight in alone.weights.items():
        assert np.array_equal(weight.numpy(), best.weights[name].numpy()), name

    said = json.loads((tmp_path / "search" / "search.json").read_text())
    metrics = json.loads((tmp_path / "search" / "evaluation" / "metrics.json").read_text())
    assert said["test"]["Rank IC"] == metrics["Rank IC"]
    page = (tmp_path / "search" / "report.html").read_text()
    for text in ("Learning curves", "Where trials were stopped", "computed once", "What mattered"):
        assert text in page
    assert not (tmp_path / "search" / "ray").exists()

    again = tuning.search(config, out=str(tmp_path / "search"))
    assert again.best.run_id == best.run_id
    other = load_config(config, ["tune.num_samples=6"])
    with pytest.raises(RunError, match=r"tune\.num_samples is 5 there, 6 here"):
        tuning.search(other, out=str(tmp_path / "search"), resume=True)
    elsewhere = load_config(config, ["tune.max_concurrent=1"])  # how many run side by side is free to change
    assert tuning.search(elsewhere, out=str(tmp_path / "search")).best.run_id == best.run_id


@quickly
@pytest.mark.parametrize(
    ("scheduler", "samples", "epochs"),
    [("{type: median, min_samples: 2}", 6, 4), ("{type: hyperband, reduction_factor: 2}", 8, 4)],
    ids=["median", "hyperband"],
)
def test_schedulers_stop_trials(
    local_ray: None, small: Callable[..., Config], tmp_path: Path, scheduler: str, samples: int, epochs: int
) -> None:
    config = small(tune__num_samples=samples, tune__scheduler=scheduler, train__max_epochs=epochs)
    trials = tuning.search(config, out=str(tmp_path / "search")).trials
    stopped = trials[trials["status"] == STOPPED]
    assert len(stopped)
    assert (stopped["epochs"] < epochs).all()
    assert (trials["status"].isin([DONE, STOPPED])).all()
    assert trials["metric"].iloc[0] == trials["metric"].max()


@quickly
def test_a_population_goes_on_from_copies_of_its_best(
    local_ray: None, small: Callable[..., Config], tmp_path: Path
) -> None:
    config = small(tune__num_samples=4, tune__scheduler="{type: pbt, quantile: 0.5}", train__max_epochs=6)
    drawn = [draw.values["train.lr"] for draw in draws(config)]
    trials = tuning.search(config, out=str(tmp_path / "search")).trials.sort_values("trial_id")
    changed = [now for now, before in zip(trials["train.lr"], drawn, strict=True) if now != before]
    assert changed, "no trial was given the values of another"
    assert all(1e-5 <= rate <= 1e-2 for rate in changed)
    assert (trials["status"] == DONE).all()
    assert (trials["epochs"] == 6).all()
    best = load_run(str(tmp_path / "search" / "best"))
    assert best.history["lr"].iloc[-1] == pytest.approx(best.config.train.lr)  # it trained with what it says


@quickly
def test_proposals_of_the_same_seed_are_the_same(local_ray: None, small: Callable[..., Config], tmp_path: Path) -> None:
    search = "{type: tpe, startup: 2}"
    space = (
        "{train.lr: {loguniform: [1e-5, 1e-2]}, model.type: {choice: {gru: {hidden_size: {choice: [4, 8]}}, mlp: {}}}}"
    )
    config = small(tune__num_samples=6, tune__search=search, tune__space=space, train__max_epochs=1)
    one, two = (tuning.search(config, out=str(tmp_path / name)).trials.drop(columns=TIMES) for name in ("one", "two"))
    pd.testing.assert_frame_equal(one, two)
    assert one["model.hidden_size"].isna().tolist() == (one["model.type"] == "mlp").tolist()
    assert one["train.lr"].nunique() == 6


@quickly
def test_a_trial_that_cannot_be_done_is_recorded_and_sinks_nothing(
    local_ray: None, small: Callable[..., Config], tmp_path: Path
) -> None:
    config = small(tune__search="{type: grid}", tune__space="{train.lr: {grid: [1e-3, 1e30, 1e-2]}}")
    found = tuning.search(config, out=str(tmp_path / "search"))
    failed = found.trials[found.trials["status"] == FAILED]
    assert list(failed["train.lr"]) == [1e30]
    assert "lower train.lr" in failed["error"].iloc[0]
    assert list(failed["tries"]) == [1], "what would come again is not tried again"
    assert found.trials["status"].iloc[0] == DONE
    assert any("1 of 3 trials failed" in line for line in found.warnings)

    hopeless = load_config(config, ["tune.space={train.lr: {grid: [1e30, 1e29]}}"])
    with pytest.raises(TrainingError, match=r"none of 2 trials .* lower train\.lr"):
        tuning.search(hopeless, out=str(tmp_path / "hopeless"))


@quickly
def test_every_panel_is_prepared_once(
    local_ray: None, small: Callable[..., Config], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    space = "{data.step_len: {grid: [4, 8]}, model.hidden_size: {grid: [4, 8]}}"
    config = small(tune__search="{type: grid}", tune__space=space, train__max_epochs=1)
    prepared: list[Any] = []
    original = tuning.prepare
    monkeypatch.setattr(tuning, "prepare", lambda *args, **more: prepared.append(args) or original(*args, **more))
    found = tuning.search(config, out=str(tmp_path / "search"))
    assert len(prepared) == 2
    assert len(found.trials) == 4
    assert found.best.config.data.step_len == found.trials["data.step_len"].iloc[0]


@quickly
def test_no_trial_reads_bars(
    local_ray: None, small: Callable[..., Config], market_bars: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(market_bars, tmp_path / "bars")
    original = tuning.prepare

    def then_away(*args: Any, **more: Any) -> Any:
        data = original(*args, **more)
        (tmp_path / "bars").rename(tmp_path / "away")
        return data

    monkeypatch.setattr(tuning, "prepare", then_away)
    config = small(data__bars=str(tmp_path / "bars"), tune__num_samples=2, train__max_epochs=1)
    trials = tuning.search(config, out=str(tmp_path / "search")).trials
    assert (trials["status"] == DONE).all()


@quickly
def test_a_network_with_a_pretraining_is_searched_by_its_own_epochs(
    local_ray: None, small: Callable[..., Config], tmp_path: Path
) -> None:
    sizes = {"n_d": 4, "n_a": 4, "out_dim": 4, "n_steps": 2, "vbs": 64, "pretrain_n_epochs": 3}
    config = small(
        model={"type": "tabnet", **sizes},
        tune__num_samples=3,
        tune__scheduler="{type: asha}",
        train__max_epochs=2,
    )
    trials = tuning.search(config, out=str(tmp_path / "search")).trials
    assert trials["metric"].notna().all()
    assert set(trials["epochs"]) <= {4, 5}, "three of the pretraining, and one or two"
    done = trials[trials["status"] == DONE]
    assert len(done)
    assert (done["epochs"] == 5).all()


@quickly
@pytest.mark.parametrize(
    "tune",
    [
        {"tune__search": "{type: grid}", "tune__space": "{train.lr: {grid: [1e-2, 1e-5, 1e-3, 1e-4]}}"},
        {"tune__search": "{type: tpe, startup: 2}", "tune__num_samples": 4},
        {"tune__scheduler": "{type: asha}", "tune__num_samples": 4},
    ],
    ids=["grid", "tpe", "asha"],
)
def test_what_was_cut_off_anywhere_goes_on_to_the_same_end(
    local_ray: None, small: Callable[..., Config], tmp_path: Path, tune: dict[str, Any]
) -> None:
    """As a driver that was killed leaves it: two trials ended, one begun, one not, and no result."""
    config, out = small(train__max_epochs=2, tune__max_concurrent=1, **tune), tmp_path / "search"
    whole = tuning.search(config, out=str(out)).trials.drop(columns=TIMES)
    ledger = Ledger.opened(str(out), list(config.search_space), config.tune.mode)
    ledger.records.pop(3)
    ledger.put(TrialRecord(number=2, values=ledger.records[2].values, tries=1))
    ledger.publish()
    for name in ("trials/0002", "trials/0003", "best"):
        shutil.rmtree(out / name)
    (out / "search.json").unlink()
    resumed = tuning.search(config, out=str(out), resume=True).trials
    assert resumed.set_index("trial_id")["tries"].sort_index().tolist() == [1, 1, 2, 1]
    one, two = resumed.drop(columns=TIMES), whole
    if config.tune.search.type == "tpe":  # what it proposes hangs on how often it has drawn in this process
        one, two = (each[each["trial_id"] != "0003"].reset_index(drop=True) for each in (one, two))
        assert (resumed["status"] == DONE).all()
    pd.testing.assert_frame_equal(one, two)


@quickly
def test_a_trial_whose_process_is_killed_goes_on_and_comes_to_the_same(
    local_ray: None, small: Callable[..., Config], tmp_path: Path
) -> None:
    config = small(tune__num_samples=2, train__max_epochs=6, tune__max_concurrent=1)
    expected = tuning.search(config, out=str(tmp_path / "whole")).trials.drop(columns=TIMES)
    killed: list[int] = []

    def kill() -> None:
        folder = tmp_path / "search" / "trials" / "0000" / "checkpoints"
        while not list(folder.glob("checkpoint_*/facts.json")):
            time.sleep(0.02)
        for pid in processes("ray::ImplicitFunc"):
            os.kill(pid, signal.SIGKILL)
            killed.append(pid)

    thread = threading.Thread(target=kill, daemon=True)
    thread.start()
    found = tuning.search(config, out=str(tmp_path / "search"))
    thread.join()
    assert killed
    assert found.trials["tries"].max() == 2
    pd.testing.assert_frame_equal(found.trials.drop(columns=TIMES), expected)


def processes(title: str) -> list[int]:
    """Processes that this one's Ray started, whose title begins so."""
    found = []
    for folder in Path("/proc").iterdir():
        try:
            if folder.name.isdigit() and (folder / "cmdline").read_text().startswith(title):
                found.append(int(folder.name))
        except OSError:
            continue
    return found


def test_a_search_whose_driver_is_killed_goes_on_to_the_same_end(small: Callable[..., Config], tmp_path: Path) -> None:
    config = small(tune__num_samples=4, train__max_epochs=8, tune__scheduler="{type: fifo}")
    (tmp_path / "gru.yaml").write_text(dump_config(config))
    words = [sys.executable, "-m", "raybench", "tune", "gru.yaml", "--json", "--out"]
    environment = {**os.environ, "RAY_ADDRESS": "local"}
    driver = subprocess.Popen(
        [*words, "search"], cwd=tmp_path, env=environment, stderr=subprocess.DEVNULL, start_new_session=True
    )
    table = tmp_path / "search" / "trials.parquet"
    until = time.monotonic() + 120
    while time.monotonic() < until and not (table.exists() and (pd.read_parquet(table)["status"] == DONE).any()):
        time.sleep(0.1)
    os.killpg(driver.pid, signal.SIGKILL)
    driver.wait()
    begun = pd.read_parquet(table)
    assert (begun["status"] == DONE).any()
    assert not (tmp_path / "search" / "search.json").exists()

    refused = subprocess.run([*words, "search"], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert refused.returncode == 2
    assert "add --resume" in refused.stderr.splitlines()[-1]
    for name, more in (("search", ["--resume"]), ("whole", [])):
        done = subprocess.run([*words, name, *more], cwd=tmp_path, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    resumed, whole = (pd.read_parquet(tmp_path / name / "trials.parquet") for name in ("search", "whole"))
    pd.testing.assert_frame_equal(resumed.drop(columns=TIMES), whole.drop(columns=TIMES))
    kept = begun[begun["status"] == DONE].set_index("trial_id")["seconds"]
    assert resumed.set_index("trial_id")["seconds"][kept.index].equals(kept), "what had ended was done again"
    one, two = (load_run(str(tmp_path / name / "best")) for name in ("search", "whole"))
    assert all(np.array_equal(one.weights[name].numpy(), two.weights[name].numpy()) for name in one.weights)


def test_more_than_any_node_has_is_refused_before_any_trial(
    local_ray: None, small: Callable[..., Config], tmp_path: Path
) -> None:
    for override, told in (
        ("tune.resources_per_trial={cpu: 900}", "the largest node has"),
        ("tune.resources_per_trial={gpu: 7}", "no node has more than"),
    ):
        with pytest.raises(Exception, match=told):
            tuning.search(load_config(small(), [override]), out=str(tmp_path / "search"))
        assert not (tmp_path / "search").exists()
    with pytest.raises(ConfigError, match=r"residency is streaming"):
        tuning.search(small(data__residency="streaming"), out=str(tmp_path / "search"))
    space = "{data.embargo: {uniform: [0, 3]}}"
    with pytest.raises(ConfigError):
        tuning.search(small(tune__space=space, tune__search="{type: tpe}"), out=str(tmp_path / "search"))


def test_an_interrupt_leaves_what_is_finished_and_says_how_to_go_on(
    small: Callable[..., Config], tmp_path: Path
) -> None:
    config = small(tune__num_samples=30, train__max_epochs=12)
    (tmp_path / "gru.yaml").write_text(dump_config(config))
    table = tmp_path / "out" / "trials.parquet"
    environment = {**os.environ, "RAY_ADDRESS": "local", "COLUMNS": "80"}
    words = [sys.executable, "-m", "raybench", "tune", "gru.yaml", "--out", "out"]
    process = subprocess.Popen(words, cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True)
    until = time.monotonic() + 120
    while time.monotonic() < until and not (table.exists() and (pd.read_parquet(table)["status"] == "done").any()):
        time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=120)
    assert process.returncode == 130, said
    assert "Traceback" not in said
    assert "go on with --resume" in said.splitlines()[-1]
    assert (tmp_path / "out" / "best" / "manifest.json").exists()
    assert not (tmp_path / "out" / "search.json").exists()
    assert len(pd.read_parquet(table)) < 30
    shorter = subprocess.run(
        [*words, "--resume", "tune.num_samples=2"], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert shorter.returncode == 2
    assert "tune.num_samples is 30 there, 2 here" in shorter.stderr
