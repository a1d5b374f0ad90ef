"""Training on Ray: the same numbers as without it, and nothing lost when something is killed."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
import torch

from raybench.cluster.jobs import training
from raybench.config import Config, dump_config
from raybench.config.panel_spec import PanelSpec
from raybench.errors import RaybenchError, ResourceError, RunError
from raybench.feeds.feeds import resident_feeds
from raybench.feeds.world import SOLO
from raybench.panel.build import build_panel
from raybench.runs.artifact import StoredRun, load_run
from raybench.training import checkpoints
from raybench.training.loop import fit
from raybench.training.network import build_model
from raybench.training.sources import open_data
from tests.cluster.processes import ours
from tests.cluster.trained import TIMES, assert_same_training
from tests.cluster.watch import Watch

pytestmark = [pytest.mark.ray, pytest.mark.slow]

MakeConfig = Callable[..., Config]


def kill_one_worker() -> None:
    """SIGKILL one process of this session's training group, as a machine that goes away would."""
    os.kill(ours("ray::RayTrainWorker")[0], signal.SIGKILL)


def kill_the_controller() -> None:
    """SIGKILL the process in which Ray Train leads the group."""
    os.kill(ours("ray::TrainController")[0], signal.SIGKILL)


def alone(config: Config) -> pd.DataFrame:
    """Train in this process, without Ray."""
    bars, features = open_data(PanelSpec.of(config))
    panel = build_panel(PanelSpec.of(config), bars, features)
    cpu = torch.device("cpu")
    torch.set_num_threads(1)
    model = build_model(config, panel.columns)
    state = fit(model, resident_feeds(config, panel, SOLO, cpu), config.train, recipe=config.recipe)
    return pd.DataFrame([vars_of(record) for record in state.history])


def vars_of(record: object) -> dict[str, float]:
    return {name: getattr(record, name) for name in record.__dataclass_fields__}  # type: ignore[attr-defined]


def test_a_killed_worker_changes_nothing(unbroken: StoredRun, fragile: Config, tmp_path: Path) -> None:
    watch = Watch(2, kill_one_worker)
    broken = training.train(fragile, out=str(tmp_path / "broken"), progress=watch)
    assert watch.called
    assert_same_training(broken, unbroken)


def test_a_killed_controller_changes_nothing(unbroken: StoredRun, fragile: Config, tmp_path: Path) -> None:
    watch = Watch(2, kill_the_controller)
    broken = training.train(fragile, out=str(tmp_path / "broken"), progress=watch)
    (told,) = [note for note in watch.notes if note.startswith("the process that leads the workers is lost")]
    assert re.fullmatch(r".* its process was killed; the training goes on from epoch [12]", told)
    assert_same_training(broken, unbroken)
    assert len(list((tmp_path / "broken").glob("checkpoints/checkpoint_*/state.pt"))) == checkpoints.KEPT


def test_a_controller_that_is_killed_too_often_is_the_end(fragile: Config, local_ray: None, tmp_path: Path) -> None:
    once = fragile.cluster.model_copy(update={"max_failures": 0})
    with pytest.raises(RaybenchError, match=r"max_failures = 0 times, .* its process was killed; .*--resume"):
        training.train(
            fragile.model_copy(update={"cluster": once}),
            out=str(tmp_path / "run"),
            progress=Watch(1, kill_the_controller),
        )


def test_a_worker_that_hangs_is_named_and_its_group_started_again(
    unbroken: StoredRun, fragile: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker that is stopped (SIGSTOP) leaves the other one waiting in an exchange of gradients."""
    monkeypatch.setenv("RAY_TRAIN_WORKER_HEALTH_CHECK_TIMEOUT_S", "5")
    stopped: list[int] = []
    times: list[float] = []

    class Told(Watch):
        def note(self, text: str) -> None:
            super().note(text)
            if "is lost" in text:
                times.append(time.monotonic())

    def stop_one_worker() -> None:
        stopped.append(ours("ray::RayTrainWorker")[0])
        os.kill(stopped[0], signal.SIGSTOP)
        times.append(time.monotonic())

    watch = Told(2, stop_one_worker)
    try:
        broken = training.train(fragile, out=str(tmp_path / "broken"), progress=watch)
        (told,) = [note for note in watch.notes if "is lost" in note]
        named = re.fullmatch(
            r"worker ([01]) of 2 \(process (\d+) on \S+\) is lost: it did not say that it lives .*", told
        )
        assert named is not None, told
        assert int(named[2]) == stopped[0]
        assert 5 <= times[1] - times[0] < 20  # torch waits 600 s for a lost peer
        assert not Path(f"/proc/{stopped[0]}").exists()
    finally:
        for pid in stopped:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
    assert_same_training(broken, unbroken)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_driver_that_is_ended_goes_on_with_resume(
    unbroken: StoredRun, fragile: Config, tmp_path: Path, number: signal.Signals
) -> None:
    (tmp_path / "config.yaml").write_text(dump_config(fragile))
    out = tmp_path / "broken"
    command = [sys.executable, "-m", "raybench", "train", str(tmp_path / "config.yaml"), "--out", str(out)]
    driver = subprocess.Popen(command, start_new_session=True, stderr=subprocess.PIPE)
    deadline = time.monotonic() + 120
    while len(list(out.glob("checkpoints/checkpoint_*/state.pt"))) < 2 and time.monotonic() < deadline:
        assert driver.poll() is None, driver.stderr and driver.stderr.read().decode()
        time.sleep(0.02)
    if number == signal.SIGKILL:
        os.killpg(driver.pid, number)
        driver.communicate()
    else:  # Kubernetes sends it to the command alone, and SIGKILL after 30 s
        driver.send_signal(number)
        _, said = driver.communicate(timeout=30)
        assert driver.returncode == 143
        assert "kept in" in said.decode().splitlines()[-1]
    assert checkpoints.finished_epochs(str(out)) >= 1
    assert not (out / "manifest.json").exists()
    with pytest.raises(RunError, match="--resume"):
        training.train(fragile, out=str(out))
    assert_same_training(training.train(fragile, out=str(out), resume=True), unbroken)


def test_damage_to_the_newest_checkpoint_and_the_index_changes_nothing(
    unbroken: StoredRun, fragile: Config, tmp_path: Path
) -> None:
    out, once = tmp_path / "run", fragile.cluster.model_copy(update={"max_failures": 0})
    with pytest.raises(RaybenchError, match="max_failures = 0"):
        training.train(fragile.model_copy(update={"cluster": once}), out=str(out), progress=Watch(3, kill_one_worker))
    last = sorted(out.glob("checkpoints/checkpoint_*/state.pt"))[-1]
    last.write_bytes(last.read_bytes()[:-1000])
    (out / "checkpoints" / checkpoints.INDEX).write_text("")
    watch = Watch(0, lambda: None)
    assert_same_training(training.train(fragile, out=str(out), resume=True, progress=watch), unbroken)
    assert any("is damaged" in note and "going on from epoch" in note for note in watch.notes)
    assert last not in out.glob("checkpoints/checkpoint_*/state.pt")


def test_ray_gives_what_the_plain_loop_gives(local_ray: None, make_config: MakeConfig, tmp_path: Path) -> None:
    config, out = make_config(train__precision="fp64"), tmp_path / "run"
    run = training.train(config, out=str(out))
    expected = alone(config).drop(columns=TIMES)
    pd.testing.assert_frame_equal(run.history.drop(columns=TIMES), expected, rtol=1e-9, check_dtype=False)
    assert run.manifest["workers"]["number"] == 2
    assert run.manifest["parameters"] == sum(value.numel() for value in run.weights.values())
    assert run.metrics["valid_loss"] == pytest.approx(run.history["valid_loss"].min())
    # A finished run is left alone, another configuration refused, damage noticed.
    assert training.train(config, out=str(out)).run_id == run.run_id
    with pytest.raises(RunError, match="another configuration"):
        training.train(make_config(train__max_epochs=9), out=str(out))
    weights = out / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\0")
    with pytest.raises(RunError, match=r"model\.safetensors differs"):
        load_run(str(out))


def test_seeds_share_a_panel_and_differ(local_ray: None, make_config: MakeConfig, tmp_path: Path) -> None:
    config = make_config(train__max_epochs=1, cluster__num_workers=1)
    runs = training.train_seeds(config, [3, 4], out=str(tmp_path / "runs"))
    assert [run.manifest["seed"] for run in runs] == [3, 4]
    assert runs[0].metrics["valid_loss"] != runs[1].metrics["valid_loss"]
    assert (tmp_path / "runs" / "seed-3" / "manifest.json").exists()


def test_too_many_workers_is_an_error_within_seconds(local_ray: None, make_config: MakeConfig, tmp_path: Path) -> None:
    began = time.monotonic()
    with pytest.raises(ResourceError, match=r"cluster\.num_workers"):
        training.train(make_config(cluster__num_workers=50), out=str(tmp_path / "run"))
    assert time.monotonic() - began < 5
    assert not (tmp_path / "run").exists()
