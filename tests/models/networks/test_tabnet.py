"""TabNet: sparsemax, masks that remember, virtual batches, and the reconstruction it is pretrained with."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn

from raybench.config.networks.tabnet import TabNet as Keys
from raybench.models.interface.inputs import Inputs
from raybench.models.layers.sparsemax import sparsemax
from raybench.models.layers.tabnet_layers import GhostNorm
from raybench.models.networks.tabnet import TabNet
from raybench.models.networks.tabnet_pretraining import MaskedReconstruction
from tests.models.batches import Batch

FEATURES, STEP_LEN = 4, 3
SMALL = {"n_d": 6, "n_a": 5, "out_dim": 7, "n_steps": 3, "vbs": 8, "ps": 0.5}


def network(seed: int = 0, recipe: str = "raybench", **changes: Any) -> TabNet:
    torch.manual_seed(seed)
    keys = Keys.model_validate({**SMALL, **changes})
    return TabNet(FEATURES, **keys.kwargs, step_len=STEP_LEN, recipe=recipe)


def windows(samples: int = 12, seed: int = 1) -> Tensor:
    return torch.randn(samples, STEP_LEN, FEATURES, generator=torch.Generator().manual_seed(seed))


def moved(net: nn.Module) -> nn.Module:
    """Give running statistics something to remember, and go to evaluation."""
    with torch.no_grad():
        for seed in range(3):
            net.train()(2.0 * windows(20, seed) + 0.3)
    return net.eval()


def assert_close(actual: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(actual, expected, atol=1e-6, rtol=1e-5)


def projected(z_C: Tensor) -> Tensor:
    """Find the nearest point of the simplex by bisection."""
    low, high = z_C.min() - 1.0, z_C.max()
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if (z_C - middle).clamp(min=0).sum() > 1 else (low, middle)
    return (z_C - low).clamp(min=0)


def test_sparsemax_is_the_nearest_probability() -> None:
    z_NC = 2.0 * torch.randn(12, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    z_NC[0], z_NC[1] = 3.0, torch.arange(7) * 100.0
    p_NC = sparsemax(z_NC)
    torch.testing.assert_close(p_NC, torch.stack([projected(z_C) for z_C in z_NC]), atol=1e-12, rtol=0.0)
    assert ((p_NC == 0).sum(dim=1)[2:] > 0).all()
    assert torch.autograd.gradcheck(sparsemax, (z_NC[2:].clone().requires_grad_(),))


@pytest.mark.parametrize("value", [0.0, 1e4, -1e4])
def test_sparsemax_of_equals_is_even(value: float) -> None:
    z = torch.full((2, 5), value, requires_grad=True)
    p = sparsemax(z)
    assert_close(p, torch.full((2, 5), 0.2))
    p[:, 0].sum().backward()
    assert z.grad is not None
    assert_close(z.grad, torch.tensor([0.8, -0.2, -0.2, -0.2, -0.2]).expand(2, 5))


def masks(net: TabNet, x_NWF: Tensor) -> list[Tensor]:
    seen: list[Tensor] = []
    for step in net.model.steps:
        step.fea_tran.register_forward_pre_hook(lambda module, given: seen.append(given[0].detach()))
    with torch.no_grad():
        net(x_NWF)
        whole_NK = net.model.bn(x_NWF.transpose(1, 2).flatten(1))
    return [masked_NK / whole_NK for masked_NK in seen]


def test_what_was_looked_at_is_not_looked_at_again() -> None:
    """With relax 1 an input whose weight was 1 has none left; Qlib's masks forget."""
    x_NWF = windows(30)

    def repeats(recipe: str) -> Tensor:
        net = moved(network(relax=1.0, recipe=recipe))
        assert isinstance(net, TabNet)
        with torch.no_grad():
            for step in net.model.steps:  # each step wants the same input, whatever came before
                step.atten_tran["bn"].bn.weight.zero_()
                step.atten_tran["bn"].bn.bias.copy_(torch.where(torch.arange(12) == 5, 10.0, 1.0))
        found = masks(net, x_NWF)
        assert all(((mask > -1e-6) & (mask < 1 + 1e-5)).all() for mask in found)
        for mask in found:
            assert_close(mask.sum(dim=1), torch.ones(30))
        return torch.stack([mask[:, 5] for mask in found]).mean(dim=1)

    assert_close(repeats("qlib"), torch.ones(4))
    assert_close(repeats("raybench"), torch.tensor([1.0, 0.0]))


def test_windows_are_qlibs_flat_rows() -> None:
    net, x_NWF = moved(network()), windows()
    flat_NK = torch.stack([x_NWF[:, step, feature] for feature in range(FEATURES) for step in range(STEP_LEN)], dim=1)
    assert torch.equal(net(x_NWF), net(flat_NK))


def test_virtual_batches_are_normalised_apart() -> None:
    norm, x_NC = GhostNorm(3, 8).train(), torch.randn(27, 3, generator=torch.Generator().manual_seed(0)) * 3 + 1
    y_NC = norm(x_NC)
    for part in (slice(0, 9), slice(9, 18), slice(18, 27)):
        assert_close(y_NC[part].mean(dim=0), torch.zeros(3))
        assert_close(y_NC[part].var(dim=0, correction=0), torch.ones(3).expand(3) * 1.0)
    assert norm.bn.num_batches_tracked == 3
    expected = torch.zeros(3)
    for part in (slice(0, 9), slice(9, 18), slice(18, 27)):
        expected = 0.99 * expected + 0.01 * x_NC[part].mean(dim=0)
    assert_close(norm.bn.running_mean, expected)

    kept = norm.bn.running_mean.clone()
    assert norm(x_NC[:1]).isfinite().all()
    assert torch.equal(norm.bn.running_mean, kept)
    assert_close(norm.eval()(x_NC)[4:5], norm(x_NC[4:5]))


def test_qlib_does_not_train_the_last_layer() -> None:
    for recipe, frozen in (("raybench", set()), ("qlib", {"fc.weight", "fc.bias"})):
        net = network(recipe=recipe).train()
        nn.functional.mse_loss(net(windows()), torch.ones(12)).backward()
        assert {name for name, value in net.named_parameters() if value.grad is None} == frozen


@pytest.mark.parametrize("recipe", ["raybench", "qlib"])
def test_names_of_shared_layers_are_qlibs(recipe: str) -> None:
    net = network(recipe=recipe)
    shared, steps = (2, 5) if recipe == "qlib" else (2, 3)
    assert len(net.qlib_dead_layers) == shared * steps
    assert "model.first_step.shared.1.fc." in net.qlib_dead_layers
    assert f"model.steps.{steps - 2}.fea_tran.shared.0.fc." in net.qlib_dead_layers
    assert {"model.shared.0.weight", "model.first_step.shared.0.bn.bn.weight", "model.first_step.independ.1.fc.bias",
            "model.steps.0.atten_tran.bn.bn.running_var", "model.steps.1.fea_tran.independ.0.bn.bn.bias",
            "model.bn.running_mean", "model.fc.weight", "fc.bias"} <= net.state_dict().keys()  # fmt: skip


@pytest.mark.parametrize(
    "changes",
    [{}, {"n_shared": 0}, {"n_ind": 0}, {"n_shared": 1, "n_ind": 3, "n_steps": 2}, {"n_d": 3, "n_a": 9, "out_dim": 1}],
)
def test_promised_size_is_the_real_one(changes: dict[str, Any]) -> None:
    net = network(**changes)
    promised = Keys.model_validate({**SMALL, **changes}).parameter_count(FEATURES, STEP_LEN)
    assert sum(value.numel() for value in net.parameters()) == promised
    assert moved(net)(windows(1)).shape == (1,)


def phase_of(**changes: Any) -> MaskedReconstruction:
    phase = network(**changes).pretraining()
    assert phase is not None
    return phase


def batch(samples: int = 12, **changes: Any) -> Batch:
    return Batch(inputs=Inputs(x_BWF=windows(samples)), label_B=torch.zeros(samples), **changes)


def test_the_encoder_does_not_see_what_it_is_to_give_back() -> None:
    phase, given = phase_of(), batch(200)
    moved(phase)
    back_NK, hidden_NK, x_NK = given.inputs.call(phase)
    assert set(hidden_NK.unique().tolist()) == {0.0, 1.0}
    assert 0.4 < float(hidden_NK.mean()) < 0.6
    other = (x_NK + 7.0 * hidden_NK).unflatten(1, (FEATURES, STEP_LEN)).transpose(1, 2)
    assert torch.equal(phase(other)[0], back_NK)
    assert torch.equal(phase(other)[1], hidden_NK)
    assert not torch.equal(phase.train()(other)[1], hidden_NK)
    assert not torch.equal(phase(other)[1], phase(other)[1])


def test_reconstruction_loss_counts_hidden_inputs_by_their_variance() -> None:
    phase, draw = phase_of(), torch.Generator().manual_seed(3)
    x_NK = torch.randn(40, 12, generator=draw) * torch.logspace(-2, 2, 12)
    x_NK[:, 4] = 1.5
    back_NK, hidden_NK = torch.randn(40, 12, generator=draw), torch.rand(40, 12, generator=draw).lt(0.5).float()
    found = phase.loss((back_NK, hidden_NK, x_NK), batch(40))
    varying = torch.arange(12) != 4
    error_NK = (hidden_NK * (back_NK - x_NK)).square()[:, varying] / x_NK.var(dim=0, correction=0)[varying]
    assert_close(found, error_NK.sum())

    weight_B = torch.cat([torch.ones(39), torch.zeros(1)])
    fewer = phase.loss((back_NK, hidden_NK, x_NK), batch(40, weight_B=weight_B))
    assert_close(fewer, error_NK[:39].sum())

    qlib = phase_of(recipe="qlib").loss((back_NK, hidden_NK, x_NK), batch(40))
    assert_close(qlib, ((hidden_NK * (back_NK - x_NK)).square() / back_NK.var(dim=0, correction=0)).sum())


def test_pretraining_learns_and_moves_the_encoder_only() -> None:
    net = network()
    phase = net.pretraining()
    assert phase is not None
    x_NWF = windows(64)
    x_NWF[:, :, 1] = x_NWF[:, :, 0]  # so that a hidden input can be told from the one beside it
    given = Batch(inputs=Inputs(x_BWF=x_NWF), label_B=torch.zeros(64))
    before = {name: value.clone() for name, value in net.named_parameters()}
    optimizer = torch.optim.Adam(phase.parameters(), lr=1e-2)

    def loss() -> Tensor:
        made: Tensor = phase.loss(given.inputs.call(phase), given) / 64
        return made

    first = float(loss().detach())
    for _ in range(60):
        optimizer.zero_grad()
        value = loss()
        value.backward()
        assert all(parameter.grad is not None for parameter in phase.parameters())
        optimizer.step()
    assert float(value.detach()) < 0.8 * first
    same = {name for name, value in net.named_parameters() if torch.equal(value, before[name])}
    assert same == {"fc.weight", "fc.bias"}
    assert network(pretrain=False).pretraining() is None


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"n_steps": 1}, "n_steps"),
        ({"relax": 0.5}, "relax"),
        ({"vbs": 1}, "vbs"),
        ({"ps": 1.0}, "ps"),
        ({"n_shared": 0, "n_ind": 0}, "n_ind"),
        ({"n_step": 3}, "n_step"),
    ],
)
def test_errors_name_the_key(changes: dict[str, Any], key: str) -> None:
    with pytest.raises(ValidationError) as caught:
        Keys.model_validate(changes)
    assert ".".join(map(str, caught.value.errors()[0]["loc"])) == key
