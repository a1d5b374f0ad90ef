"""TRA: transport, routing, the memory of its losses, and what its two phases minimise."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn

from raybench.config.data.spec import DataConfig
from raybench.config.networks.tra import TRA as Keys
from raybench.feeds.memory import LossMemory
from raybench.models.interface.inputs import Inputs
from raybench.models.layers.transport import assignment, min_max, sinkhorn
from raybench.models.networks.tra import TRA
from tests.models.batches import Batch

FEATURES, STEP_LEN, STATES = 4, 8, 3


def keys(**changes: Any) -> Keys:
    return Keys.model_validate({"model_config": {"hidden_size": 8}, "tra_config": {"hidden_size": 5}, **changes})


def network(seed: int = 0, features: int = FEATURES, recipe: str = "raybench", **changes: Any) -> TRA:
    torch.manual_seed(seed)
    return TRA(features, **keys(**changes).kwargs, step_len=STEP_LEN, recipe=recipe)


def batch(samples: int = 12, seed: int = 1, **changes: Any) -> Batch:
    draw = torch.Generator().manual_seed(seed)
    x_BWF = torch.randn(samples, STEP_LEN, FEATURES, generator=draw)
    hist_loss = torch.rand(samples, STEP_LEN - 2, STATES, generator=draw)
    label_B = torch.randn(samples, generator=draw)
    return Batch(inputs=Inputs(x_BWF=x_BWF, named={"hist_loss": hist_loss}), label_B=label_B, **changes)


def assert_close(actual: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(actual, expected, atol=1e-6, rtol=1e-5)


def test_transport_gives_each_sample_whole_and_each_predictor_its_share() -> None:
    gain_NK = -torch.rand(500, STATES, generator=torch.Generator().manual_seed(0))
    plan_NK = sinkhorn(gain_NK, iterations=50)
    assert_close(plan_NK.sum(dim=1), torch.ones(500))
    torch.testing.assert_close(plan_NK.sum(dim=0), torch.full((STATES,), 500 / STATES), rtol=1e-3, atol=0.0)
    assert (plan_NK >= 0).all()
    # of all plans with these sums it is the one for the gain: a sample's own order of predictors shows through
    scale_K = (plan_NK / torch.exp(gain_NK / 0.1)).log()
    assert_close((scale_K - scale_K[:, :1]), (scale_K - scale_K[:, :1])[:1].expand(500, STATES))


def test_transport_is_the_same_in_parts() -> None:
    """Workers that share a batch exchange column sums, and samples of weight 0 are not assigned."""
    gain_NK = -torch.rand(9, STATES, generator=torch.Generator().manual_seed(0))
    whole_NK = sinkhorn(gain_NK)
    sums: list[Tensor] = []
    sinkhorn(gain_NK, group_sum=lambda value: sums.append(value) or value)  # type: ignore[func-returns-value]
    replayed = iter(sums)
    assert_close(sinkhorn(gain_NK[:4], group_sum=lambda value: next(replayed)), whole_NK[:4])

    padded_NK = torch.cat([gain_NK, torch.zeros(2, STATES)])
    found_NK = sinkhorn(padded_NK, taking_part_N=torch.arange(11) < 9)
    assert_close(found_NK[:9], whole_NK)
    assert (found_NK[9:] == 0).all()


@pytest.mark.parametrize(
    ("loss_NK", "expected_NK"),
    [
        ([[1.0, 3.0, 2.0]], [[0.0, 1.0, 0.5]]),
        ([[2.0, 2.0, 2.0]], [[1.0, 1.0, 1.0]]),
        ([[0.0, 0.0, 0.0], [0.0, 1e-3, 0.0]], [[1.0, 1.0, 1.0], [0.0, 1.0, 0.0]]),
    ],
)
def test_losses_are_compared_within_a_sample(loss_NK: list[list[float]], expected_NK: list[list[float]]) -> None:
    assert_close(min_max(torch.tensor(loss_NK)), torch.tensor(expected_NK))


def test_assignment_weighs_the_past() -> None:
    now_NK, past_NK = torch.tensor([[0.0, 1.0, 1.0]] * 6), torch.tensor([[1.0, 1.0, 0.0]] * 6)
    others_NK = torch.tensor([[1.0, 0.0, 1.0], [1.0, 1.0, 0.0]] * 6)  # so that shares can be even
    loss_NK, before_NK = torch.cat([now_NK, others_NK]), torch.cat([past_NK, others_NK])
    assert (assignment(loss_NK, before_NK, alpha=1.0)[:6].argmax(dim=1) == 0).all()
    assert (assignment(loss_NK, before_NK, alpha=0.0)[:6].argmax(dim=1) == 2).all()


@pytest.mark.parametrize("source", ["LR", "TPE", "LR_TPE"])
def test_evaluation_takes_the_predictor_that_the_router_trusts_most(source: str) -> None:
    net, given = network(tra_config={"src_info": source, "hidden_size": 5}).eval(), batch()
    with torch.no_grad():
        score_N = given.inputs.call(net)
        pred_NK, logit_NK = net.tra(net.model(given.inputs.x_BWF), given.inputs.named["hist_loss"])
        assert torch.equal(score_N, pred_NK[torch.arange(12), logit_NK.argmax(dim=1)])
        for state in range(STATES):  # the router alone decides
            net.tra.fc.weight.zero_()
            net.tra.fc.bias.copy_(nn.functional.one_hot(torch.tensor(state), STATES))
            assert torch.equal(given.inputs.call(net), pred_NK[:, state])


def test_routing_looks_at_the_memory() -> None:
    net, given = network(tra_config={"src_info": "TPE", "hidden_size": 5}), batch(200)
    other = dataclasses.replace(given.inputs, named={"hist_loss": given.inputs.named["hist_loss"].flip(2) * 5})
    with torch.no_grad():
        net.tra.fc.bias.zero_()  # which decides alone while weights are small
        assert not torch.equal(given.inputs.call(net.eval()), other.call(net))
        unknown = dataclasses.replace(given.inputs, named={"hist_loss": torch.zeros(200, STEP_LEN - 2, STATES)})
        assert torch.equal(net(given.inputs.x_BWF), unknown.call(net))


def test_training_draws_one_predictor_per_sample() -> None:
    net, given = network().train(), batch(400)
    _, choice_NK, log_p_NK = given.inputs.call(net)
    assert_close(choice_NK.sum(dim=1), torch.ones(400))
    assert set(choice_NK.detach().round().flatten().abs().tolist()) == {0.0, 1.0}
    torch.testing.assert_close(choice_NK.mean(dim=0), log_p_NK.exp().mean(dim=0), atol=0.1, rtol=0.0)


def test_loss_is_squared_error_and_fading_routing_loss() -> None:
    net, given = network(lamb=2.0, rho=0.5).train(), batch(weight_B=torch.tensor([2.0] * 6 + [0.0] * 6))
    pred_NK, choice_NK, log_p_NK = outputs = given.inputs.call(net)
    error_N = (pred_NK[torch.arange(12), choice_NK.argmax(dim=1)] - given.label_B).square()
    first = Batch(inputs=given.inputs.take(slice(0, 6)), label_B=given.label_B[:6])
    routing_N = -(net.plan(pred_NK[:6], first) * log_p_NK[:6]).sum(dim=1)
    for step, lamb in ((0, 2.0), (99, 2.0), (100, 1.0), (250, 0.5)):
        found = net.loss(outputs, dataclasses.replace(given, step=step))
        assert_close(found, 2.0 * (error_N[:6] + lamb * routing_N).sum())


def test_pretraining_moves_backbone_and_predictors_only() -> None:
    net, given = network(), batch()
    phase = net.pretraining()
    assert phase is not None
    trained = {id(value) for value in phase.parameters()}
    left = {name for name, value in net.named_parameters() if id(value) not in trained}
    assert left
    assert all(name.startswith(("tra.router.", "tra.fc.")) for name in left)

    outputs = given.inputs.call(phase.train())
    expected = ((outputs - given.label_B[:, None]).square() * net.plan(outputs, given)).sum()
    assert_close(phase.loss(outputs, given), expected)
    phase.loss(outputs, given).backward()
    assert all(value.grad is not None for value in phase.parameters())
    assert_close(given.inputs.call(phase.eval()), outputs.mean(dim=1))
    assert network(pretrain=False).pretraining() is None


@pytest.mark.parametrize("phase", ["pretraining", "training"])
def test_every_parameter_has_a_gradient(phase: str) -> None:
    net, given = network(), batch()
    trained: nn.Module | None = net.pretraining() if phase == "pretraining" else net
    assert trained is not None
    trained.train()
    trained.loss(given.inputs.call(trained), given).backward()  # type: ignore[operator]
    assert [name for name, value in trained.named_parameters() if value.grad is None] == []


def test_training_separates_two_patterns() -> None:
    """Half of the samples follow a feature and half its opposite, as one tells that the router sees."""
    draw = torch.Generator().manual_seed(0)
    x_BWF = torch.randn(256, STEP_LEN, FEATURES, generator=draw)
    sign_B = torch.where(torch.arange(256) % 2 == 0, 1.0, -1.0)
    hist_loss = torch.rand(256, STEP_LEN - 2, 2, generator=draw) * 0.1
    hist_loss[:, :, 0] += (sign_B < 0)[:, None]
    hist_loss[:, :, 1] += (sign_B > 0)[:, None]
    given = Batch(inputs=Inputs(x_BWF=x_BWF, named={"hist_loss": hist_loss}), label_B=sign_B * x_BWF[:, -1, 0])
    net = network(model_config={"hidden_size": 16}, tra_config={"num_states": 2, "hidden_size": 8, "src_info": "TPE"})
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-2)
    for step in range(250):
        optimizer.zero_grad()
        at = dataclasses.replace(given, step=step)
        (net.train().loss(given.inputs.call(net), at) / 256).backward()
        optimizer.step()
    with torch.no_grad():
        error = (given.inputs.call(net.eval()) - given.label_B).square().mean()
    assert error < 0.3 * given.label_B.square().mean()


def test_memory_never_gives_what_is_not_known_yet() -> None:
    """At date t only losses of dates t - (step_len - 1) .. t - horizon are read, of that instrument alone."""
    horizon, dates, instruments = 2, 20, 3
    memory = LossMemory(instruments, dates, STATES, step_len=STEP_LEN, horizon=horizon)
    for date in range(dates):
        memory.write(
            torch.arange(instruments), torch.full((instruments,), date), torch.full((instruments, STATES), date)
        )
    memory.write(torch.tensor([1]), torch.tensor([9]), torch.full((1, STATES), -9.0))
    found_BLK = memory.read(torch.tensor([0, 0, 1]), torch.tensor([4, 19, 12], dtype=torch.int32))
    assert found_BLK.shape == (3, STEP_LEN - horizon, STATES)
    assert found_BLK[0, :, 0].tolist() == [0, 0, 0, 0, 1, 2]
    assert found_BLK[1, :, 0].tolist() == [12, 13, 14, 15, 16, 17]
    assert found_BLK[2, :, 0].tolist() == [5, 6, 7, 8, -9, 10]

    for date in range(dates):
        before = memory.read(torch.arange(instruments), torch.full((instruments,), date))
        later = torch.arange(max(date - horizon + 1, 0), dates).repeat_interleave(instruments)
        everyone = torch.arange(instruments).repeat(dates - max(date - horizon + 1, 0))
        kept = memory.loss_NTK.clone()
        memory.write(everyone, later, torch.full((len(later), STATES), 1e9))
        assert torch.equal(memory.read(torch.arange(instruments), torch.full((instruments,), date)), before)
        memory.loss_NTK.copy_(kept)


def test_what_is_remembered_does_not_depend_on_the_router() -> None:
    net, given = network().eval(), batch()
    errors_NK = net.errors(given.inputs.x_BWF, given.label_B)
    with torch.no_grad():
        expected = min_max((net.tra.predictors(net.model(given.inputs.x_BWF)) - given.label_B[:, None]).square())
        assert torch.equal(errors_NK, expected)
        net.tra.fc.weight.normal_()
    assert torch.equal(net.errors(given.inputs.x_BWF, given.label_B), errors_NK)
    assert not errors_NK.requires_grad
    memory = LossMemory(12, 5, STATES, step_len=STEP_LEN, horizon=2)
    memory.write(torch.arange(12), torch.full((12,), 2), errors_NK)
    assert_close(memory.inputs(torch.arange(12), torch.full((12,), 4))["hist_loss"][:, -1], errors_NK)


@pytest.mark.parametrize("features", [3, FEATURES, 40])
@pytest.mark.parametrize(
    "changes",
    [
        {"model_type": "RNN"},
        {"model_config": {"hidden_size": 6, "num_layers": 1, "rnn_arch": "GRU", "use_attn": False}},
        {"model_type": "Transformer", "model_config": {"hidden_size": 6, "num_layers": 2}},
        {"tra_config": {"num_states": 2, "src_info": "LR"}},
        {"tra_config": {"num_states": 5, "src_info": "TPE", "rnn_arch": "GRU", "num_layers": 2, "hidden_size": 7}},
    ],
)
def test_promised_size_is_the_real_one(features: int, changes: dict[str, Any]) -> None:
    net = network(features=features, **changes)
    assert sum(value.numel() for value in net.parameters()) == keys(**changes).parameter_count(features, STEP_LEN)
    assert net.eval()(torch.randn(1, STEP_LEN, features)).shape == (1,)


def test_size_is_that_of_qlib() -> None:
    """55,936 and 5,606: counted by running Qlib with its benchmark's settings on Alpha360."""
    assert Keys().parameter_count(6, 60) == 55_936 + 5_606


def test_encoder_layers_start_apart_but_in_qlib() -> None:
    def equal(recipe: str) -> bool:
        layers = network(model_type="Transformer", recipe=recipe).model.encoder["layers"]  # type: ignore[union-attr]
        return torch.equal(layers[0].linear1.weight, layers[1].linear1.weight)

    assert equal("qlib")
    assert not equal("raybench")


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"tra_config": {"num_states": 1}}, "tra_config.num_states"),
        ({"tra_config": {"src_info": "RL"}}, "tra_config.src_info"),
        ({"model_config": {"hidden": 3}}, "model_config.hidden"),
        ({"model_type": "Transformer", "model_config": {"num_heads": 3}}, "model_config.num_heads"),
        ({"rho": 1.1}, "rho"),
    ],
)
def test_errors_name_the_key(changes: dict[str, Any], key: str) -> None:
    with pytest.raises(ValidationError) as caught:
        Keys.model_validate(changes)
    assert ".".join(map(str, caught.value.errors()[0]["loc"])) == key


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"label": "Ref($close, -6) / Ref($close, -1) - 1"}, "model.horizon"),
        ({"step_len": 2}, "model.horizon"),
        ({"residency": "streaming"}, "data.residency"),
        ({}, None),
    ],
)
def test_data_must_fit_the_memory(changes: dict[str, Any], key: str | None) -> None:
    years = {name: [f"{year}-01-01", f"{year}-12-31"] for name, year in (("train", 10), ("valid", 11), ("test", 12))}
    segments = {name: [f"20{day}" for day in days] for name, days in years.items()}
    data = DataConfig.model_validate({"bars": "bars", "segments": segments, **changes})
    found = [".".join(map(str, loc)) for loc, _, _ in keys().misfits(data, None, "raybench")]
    assert found == ([] if key is None else [key])
