"""Training on streamed blocks with two workers: the samples of a resident training, none lost to a worker."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from raybench.cli.app import run as command
from raybench.cluster import preparation
from raybench.cluster.jobs import training
from raybench.cluster.residency import choose_residency
from raybench.config import Config
from raybench.config.load import dump_config
from raybench.market.bars import open_bars
from raybench.panel import streaming
from raybench.panel.streaming import StreamPlan

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


def test_bars_damaged_between_the_check_and_the_read_are_one_line(
    local_ray: None,
    make_config: MakeConfig,
    market_bars: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Read inside Ray Data, whose own errors carry no cause; nothing is begun."""
    bars = Path(shutil.copytree(market_bars, tmp_path / "bars"))

    def plan(*args: Any, **options: Any) -> StreamPlan:
        made = streaming.plan_stream(*args, **options)
        for file in open_bars(str(bars)).files:
            (bars / file.name).write_bytes(b"PAR1")
        return made

    monkeypatch.setattr(preparation, "plan_stream", plan)
    config = make_config(data__bars=str(bars), data__residency="streaming", data__embargo=2)
    (tmp_path / "c.yaml").write_text(dump_config(config))
    assert command(["train", str(tmp_path / "c.yaml"), "--out", str(tmp_path / "run"), "--quiet"]) == 2
    out, err = capsys.readouterr()
    assert len(err.splitlines()) == 1, err
    assert "is not a Parquet file, or was cut short" in err
    assert out == ""
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("wanted", "panel_bytes", "chosen"),
    [("auto", 40, "resident"), ("auto", 60, "streaming"), ("resident", 60, "resident"), ("streaming", 1, "streaming")],
)
def test_auto_streams_what_would_fill_the_store(wanted: str, panel_bytes: int, chosen: str) -> None:
    assert choose_residency(wanted, panel_bytes=panel_bytes, store_bytes=100) == chosen
