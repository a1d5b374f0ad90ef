"""Schedulers as a search makes them, without Ray running."""

from __future__ import annotations

import random
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from ray.tune.schedulers import PopulationBasedTraining

from raybench.cluster.search import make_scheduler
from raybench.cluster.trial import TRIAL
from raybench.config.search_space import Space
from raybench.config.tune import Asha, Choice, LogUniform, Pbt, RandInt, Uniform
from raybench.search.reported import OWN_EPOCH

SPACE: Space = {
    "train.lr": LogUniform(loguniform=(1e-5, 1e-2)),
    "model.dropout": Uniform(uniform=(0.1, 0.2)),
    "train.batch_size": RandInt(randint=(100, 200)),
    "train.weight_decay": Choice(choice=(0.0, 0.1, 0.2)),
}


@pytest.mark.parametrize("finished", [False, True])
def test_a_population_copies_no_trial_that_is_done(monkeypatch: pytest.MonkeyPatch, finished: bool) -> None:
    """Whether after its last epoch or stopped early."""
    seen: list[Any] = []
    monkeypatch.setattr(PopulationBasedTraining, "_exploit", lambda self, controller, trial, other: seen.append(other))
    scheduler: Any = make_scheduler(Pbt(type="pbt"), SPACE, max_epochs=6)
    best: Any = SimpleNamespace(last_result={"epoch": 3, "finished": finished})
    scheduler._exploit(None, SimpleNamespace(), best)
    assert seen == [best] * (not finished)


def changed(seed: int) -> list[Any]:
    """What a population makes of values, ten times."""
    random.seed(seed)
    scheduler: Any = make_scheduler(Pbt(type="pbt", resample=0.5), SPACE, max_epochs=6, seed=seed)
    values = {"train.lr": 1e-3, "model.dropout": 0.15, "train.batch_size": 150, "train.weight_decay": 0.1}
    trial: Any = SimpleNamespace(config={TRIAL: {"number": 0, "values": values}})
    return [scheduler._get_new_config(trial, trial)[0][TRIAL]["values"] for _ in range(10)]


def test_a_population_of_the_same_seed_changes_values_in_the_same_way() -> None:
    np.random.seed(1)
    one = changed(seed=3)
    np.random.seed(2)  # which whatever else runs in the process may use
    assert changed(seed=3) == one
    assert changed(seed=4) != one
    for each in one:
        assert 1e-5 <= each["train.lr"] <= 1e-2
        assert 0.1 <= each["model.dropout"] <= 0.2
        assert 100 <= each["train.batch_size"] <= 200
        assert type(each["train.batch_size"]) is int
        assert each["train.weight_decay"] in (0.0, 0.1, 0.2)


def test_epochs_of_the_network_itself_are_the_time_of_schedulers() -> None:
    scheduler: Any = make_scheduler(Asha(grace_period=1, reduction_factor=2), SPACE, max_epochs=4)
    assert (scheduler._time_attr, scheduler._max_t) == (OWN_EPOCH, 4)
