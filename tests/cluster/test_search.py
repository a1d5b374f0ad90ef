"""Schedulers as a search makes them, without Ray running."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from ray.tune.schedulers import PopulationBasedTraining

from raybench.cluster.search import EPOCH, make_scheduler
from raybench.config.tune import Pbt, Uniform


@pytest.mark.parametrize(("reached", "copied"), [(5, True), (6, False)])
def test_a_population_copies_no_trial_that_is_done(monkeypatch: pytest.MonkeyPatch, reached: int, copied: bool) -> None:
    seen: list[Any] = []
    monkeypatch.setattr(PopulationBasedTraining, "_exploit", lambda self, controller, trial, other: seen.append(other))
    scheduler: Any = make_scheduler(Pbt(type="pbt"), {"train.lr": Uniform(uniform=(0.1, 0.2))}, max_epochs=6)
    best: Any = SimpleNamespace(last_result={EPOCH: reached})
    scheduler._exploit(None, SimpleNamespace(), best)
    assert seen == [best] * copied
