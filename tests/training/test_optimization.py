"""A state that goes on with other options: rates keep their place in the schedule, gradients are remembered."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import nn

from raybench.config.schema import TrainConfig
from raybench.training.optimization import Schedule, make_optimizer, with_options
from raybench.training.state import TrainState

SCHEDULES: list[dict[str, Any]] = [
    {"type": "constant"},
    {"type": "cosine", "warmup_epochs": 2},
    {"type": "plateau", "patience": 1},
]


def stepped(options: TrainConfig, epochs: int, state: TrainState | None = None) -> tuple[TrainState, list[float]]:
    """Go on for some epochs from a state; returns the new state and the rates of each epoch."""
    torch.manual_seed(0)
    model = nn.Linear(3, 1)
    optimizer = make_optimizer(model, options)
    schedule = Schedule(optimizer, options, 8)
    if state is not None:
        optimizer.load_state_dict(state.optimizer)
        schedule.load_state_dict(state.schedule)
    rates = []
    for _ in range(epochs):
        rates.append(float(optimizer.param_groups[0]["lr"]))
        model(torch.ones(2, 3)).sum().backward()
        optimizer.step()
        schedule.step(-1.0)  # never better, so that a plateau is met
    reached = TrainState(optimizer=copy.deepcopy(optimizer.state_dict()), schedule=copy.deepcopy(schedule.state_dict()))
    return reached, rates


@pytest.mark.parametrize("schedule", SCHEDULES, ids=lambda schedule: str(schedule["type"]))
@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_it_goes_on_as_if_it_had_begun_with_them(schedule: dict[str, Any], optimizer: str) -> None:
    before = TrainConfig.model_validate({"lr": 1e-2, "lr_schedule": schedule, "optimizer": optimizer})
    after = before.model_copy(update={"lr": 4e-3, "weight_decay": 0.1})
    _, expected = stepped(after, 7)
    state, _ = stepped(before, 3)
    with_options(state, 1e-2, after)
    assert state.optimizer["param_groups"][0]["weight_decay"] == 0.1
    _, rates = stepped(after, 4, state)
    assert rates == pytest.approx(expected[3:], rel=1e-12)


def test_what_the_optimizer_remembers_stays() -> None:
    options = TrainConfig(lr=1e-2)
    state, _ = stepped(options, 3)
    remembered = copy.deepcopy(state.optimizer["state"])
    with_options(state, 1e-2, options.model_copy(update={"lr": 1e-3}))
    for number, kept in state.optimizer["state"].items():
        assert all(torch.equal(value, remembered[number][name]) for name, value in kept.items())
