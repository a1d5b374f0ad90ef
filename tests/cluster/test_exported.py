"""What jobs tell Prometheus, without Ray: tests/jobs reads it where Ray exports it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import ray
import torch

from raybench.cluster import exported
from raybench.cluster.exported import GAUGES, SHOWN_DATES, TrainingGauges, show_scores
from raybench.config.panel_spec import PanelSpec
from raybench.feeds.feeds import Feeds
from raybench.panel.build import build_panel
from raybench.training import checkpoints
from raybench.training.alone import fit_alone
from raybench.training.checkpoints import Identity
from raybench.training.sources import open_data
from tests.cluster.conftest import MakeConfig

Told = dict[tuple[str, tuple[tuple[str, str], ...]], float]


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> Told:
    """What gauges are set to, by name and tags."""
    values: Told = {}

    class Fake:
        def __init__(self, name: str, description: str, tag_keys: tuple[str, ...]) -> None:
            assert (description, tag_keys) == GAUGES[name]
            self.name, self.keys = name, tag_keys

        def set(self, value: float, tags: dict[str, str]) -> None:
            assert set(tags) == set(self.keys)
            values[self.name, tuple(sorted(tags.items()))] = value

    monkeypatch.setattr(exported, "Gauge", Fake)
    return values


class Slow:
    """Two batches, each a tenth of a second in the making."""

    def epoch(self, epoch: int) -> Iterator[Any]:
        for number in range(2):
            time.sleep(0.1)
            yield (epoch, number)

    def steps(self) -> int:
        return 2


def record(seconds: float) -> Any:
    return SimpleNamespace(epoch=3, seconds=seconds, samples_per_second=1234.0)


def test_a_training_tells_how_long_it_waited(told: Told) -> None:
    gauges = TrainingGauges("runs/gru")
    valid: Any = object()
    make = gauges.watching(lambda *args, **options: Feeds(train=Slow(), valid=valid))
    config: Any = None
    world: Any = None
    feeds = make(config, world, torch.device("cpu"), dates=False)
    assert feeds.valid is valid
    assert feeds.train.steps() == 2
    for _ in range(2):  # each epoch for itself
        seen = []
        for batch in feeds.train.epoch(3):
            seen.append(batch)
            time.sleep(0.05)  # of the loop, which waits for nothing then
        assert seen == [(3, 0), (3, 1)]
        gauges.show(record(seconds=1.0))
        assert 0.2 <= told["raybench_training_wait_share", (("rank", "0"), ("run", "runs/gru"))] < 0.28
    assert told["raybench_training_rows_per_second", (("run", "runs/gru"),)] == 1234.0
    assert told["raybench_training_epoch", (("run", "runs/gru"),)] == 3


def test_other_ranks_tell_of_their_waiting_alone(told: Told) -> None:
    TrainingGauges("runs/gru", rank=1).show(record(seconds=0.0))
    assert told == {("raybench_training_wait_share", (("rank", "1"), ("run", "runs/gru"))): 0.0}


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, float, dict[str, str]]]:
    """What the board is given."""
    facts: list[tuple[str, float, dict[str, str]]] = []
    board = SimpleNamespace(show=SimpleNamespace(remote=facts.extend))
    monkeypatch.setattr(exported, "_board", lambda: board)
    monkeypatch.setattr(ray, "get", lambda reference, timeout: reference)
    return facts


def test_scores_are_told_of_with_their_newest_dates(shown: list[Any]) -> None:
    rows = {f"2026-01-{day:02d}": day for day in range(1, 31)}
    show_scores("s3://b/scores", last="2026-01-30", refused=2, rows=rows, per_second=50.0)
    table = {"scores": "s3://b/scores"}
    midnight = datetime(2026, 1, 30, tzinfo=UTC).timestamp()
    assert shown[:3] == [
        ("raybench_refused_dates", 2.0, table),
        ("raybench_last_scored_date_seconds", midnight, table),
        ("raybench_scoring_rows_per_second", 50.0, table),
    ]
    dated = [("raybench_scored_rows", float(day), {**table, "date": f"2026-01-{day:02d}"}) for day in range(1, 31)]
    assert shown[3:] == dated[-SHOWN_DATES:]
    assert {name for name, _, _ in shown} <= set(GAUGES)


def test_what_is_not_known_is_not_told(shown: list[Any]) -> None:
    show_scores("scores", last=None, refused=0)
    assert [name for name, _, _ in shown] == ["raybench_refused_dates"]


def test_a_cluster_that_does_not_take_it_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def gone() -> Any:
        asked.append("for the board")
        raise ray.exceptions.RayError("gone")

    monkeypatch.setattr(exported, "_board", gone)
    show_scores("scores", last="2026-01-30", refused=0)
    assert asked == ["for the board"], "and the scores were not told"


def test_a_fit_in_one_process_tells_of_every_epoch(told: Told, make_config: MakeConfig, tmp_path: Path) -> None:
    config, out = make_config(cluster__num_workers=1), str(tmp_path / "run")
    spec = PanelSpec.of(config)
    panel = build_panel(spec, *open_data(spec))
    identity = Identity.of(config, panel.fingerprint, workers=1, rows="resident")
    epochs: list[float] = []

    def hear(kind: str, value: Any) -> None:
        if kind == "epoch":  # what the gauge says then is of the epoch before
            epochs.append(told.get(("raybench_training_epoch", (("run", out),)), 0.0))

    fit_alone(
        config,
        panel,
        out,
        threads=1,
        device=torch.device("cpu"),
        identity=identity,
        begun=checkpoints.newest(out, identity),
        hear=hear,
        gauges=TrainingGauges(out),
    )
    assert epochs == [0.0, 1.0]
    assert told["raybench_training_epoch", (("run", out),)] == 2
    assert told["raybench_training_rows_per_second", (("run", out),)] > 0
    assert 0 < told["raybench_training_wait_share", (("rank", "0"), ("run", out))] < 1
