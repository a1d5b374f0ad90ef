"""What workers hand over, and what they do not once whoever they work for has lost the run directory."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from raybench.cluster import trial, worker
from raybench.cluster.trial import TrialReporter
from raybench.cluster.worker import WorkerReporter
from raybench.config import Config
from raybench.storage.claims import SupersededError, held, ticket_of
from raybench.training.checkpoints import Identity
from tests.training.test_checkpoints import state

IDENTITY = Identity(config={}, data="d", layout={})


def test_a_worker_whose_driver_lost_its_claim_hands_over_no_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[Any] = []
    storage = SimpleNamespace(experiment_fs_path=str(tmp_path / "run" / "checkpoints"), storage_filesystem=None)
    context = SimpleNamespace(get_storage=lambda: storage)
    monkeypatch.setattr(worker.ray.train, "get_context", lambda: context)
    monkeypatch.setattr(worker.ray.train, "report", lambda metrics, checkpoint=None, **_: given.append(checkpoint))
    out, journal = str(tmp_path / "run"), SimpleNamespace(add=lambda *event: None)
    with held(out, what="train"):
        task = SimpleNamespace(metric=None, identity=IDENTITY, journal=journal, claim=ticket_of(out))
        reporter = WorkerReporter(task, SimpleNamespace(rank=0))  # type: ignore[arg-type]
        reporter.report(state(1))
    assert [checkpoint is not None for checkpoint in given] == [True]
    with held(out, what="train"), pytest.raises(SupersededError, match="taken over by `raybench train`"):
        reporter.report(state(2))
    assert len(given) == 1


def test_a_trial_whose_search_lost_its_claim_keeps_no_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make_config: Any
) -> None:
    config: Config = make_config()
    gauges = SimpleNamespace(show=lambda record: None)
    monkeypatch.setattr(trial, "TrainingGauges", lambda run: gauges)
    monkeypatch.setattr(trial.tune, "report", lambda metrics: None)
    search, out = str(tmp_path / "search"), tmp_path / "search" / "trials" / "0001"
    with held(search, what="tune"):
        claim = ticket_of(str(out))
        reporter = TrialReporter(str(out), IDENTITY, config, config.tune.metric, claim=claim)
        reporter.report(state(1))
        assert len(list((out / "checkpoints").iterdir())) == 1
    with held(search, what="tune"), pytest.raises(SupersededError, match="taken over by `raybench tune`"):
        reporter.report(state(2))
    assert len(list((out / "checkpoints").iterdir())) == 1
