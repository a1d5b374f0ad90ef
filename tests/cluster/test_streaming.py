"""Training on streamed blocks with two workers: the samples of a resident training, none lost to a worker."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from raybench.cluster import training
from raybench.cluster.residency import choose_residency
from raybench.config import Config
from raybench.data import streaming

pytestmark = [pytest.mark.ray, pytest.mark.slow]

MakeConfig = Callable[..., Config]


def test_two_workers_see_all_samples_of_the_resident_panel(
    local_ray: None, make_config: MakeConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With steps too small to matter the mean loss over an epoch tells the set of samples."""
    monkeypatch.setattr(
        streaming.plan_stream, "__kwdefaults__", streaming.plan_stream.__kwdefaults__ | {"block_rows": 900}
    )
    still = {"train__lr": 1e-12, "train__max_epochs": 2, "train__batch_size": 64}
    runs = {
        where: training.train(make_config(**still, data__residency=where), out=str(tmp_path / where))
        for where in ("resident", "streaming")
    }
    resident, streamed = runs["resident"].history, runs["streaming"].history
    for name in ("train_loss", "valid_loss", "valid_ic", "valid_rank_ic"):
        assert streamed[name].to_list() == pytest.approx(resident[name].to_list(), rel=1e-5), name
    assert runs["streaming"].manifest["samples"] == runs["resident"].manifest["samples"]
    samples = (runs["streaming"].history["samples_per_second"] * runs["streaming"].history["seconds"]).round()
    assert set(samples) == {runs["resident"].manifest["samples"]["train"]}


def test_streamed_training_learns(local_ray: None, make_config: MakeConfig, tmp_path: Path) -> None:
    config = make_config(data__residency="streaming", train__max_epochs=3, train__batch_size=200)
    run = training.train(config, out=str(tmp_path / "run"))
    assert run.history["train_loss"].iloc[-1] < run.history["train_loss"].iloc[0]
    assert run.metrics["valid_rank_ic"] is not None


@pytest.mark.parametrize(
    ("wanted", "panel_bytes", "chosen"),
    [("auto", 40, "resident"), ("auto", 60, "streaming"), ("resident", 60, "resident"), ("streaming", 1, "streaming")],
)
def test_auto_streams_what_would_fill_the_store(wanted: str, panel_bytes: int, chosen: str) -> None:
    assert choose_residency(wanted, panel_bytes=panel_bytes, store_bytes=100) == chosen
