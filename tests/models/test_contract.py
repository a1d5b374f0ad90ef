"""What every network of MODELS keeps to: shapes, dtypes, seeds, order, finiteness, gradients, groups, export.

Those that are fitted without gradient steps are left out where a gradient is what is tested.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
import torch.multiprocessing as mp
from torch import Tensor, nn

from raybench.config.networks import NETWORKS
from raybench.models.interface.inputs import Inputs
from raybench.scoring.onnx import TOLERANCE, axes_of, encode, largest_difference, traced
from raybench.training.loop import pretraining_of
from tests.models.contract import FEATURES, KINDS, STEP_LEN, TRAINED, batch_of, label_of, loss_of, network_of
from tests.models.dates import date_slices
from tests.models.member import member


def in_every_case(kinds: Sequence[str]) -> Any:
    """Walk over networks, feature sets and recipes."""
    cases = [("alpha158", "raybench"), ("alpha360", "raybench"), ("square", "qlib"), ("alpha360", "qlib")]
    return pytest.mark.parametrize(("kind", "features", "recipe"), [(kind, *case) for kind in kinds for case in cases])


def on_both_feature_sets(kinds: Sequence[str]) -> Any:
    return pytest.mark.parametrize(
        ("kind", "features"), [(k, set_) for k in kinds for set_ in ("alpha158", "alpha360")]
    )


traced_networks = pytest.mark.parametrize("kind", [kind for kind in KINDS if NETWORKS[kind].traceable])


def assert_same(actual: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(actual, expected, atol=1e-6, rtol=1e-5)


def changed(inputs: Inputs, change: Callable[[Tensor], Tensor]) -> Inputs:
    """Change the windows."""
    return replace(inputs, x_BWF=change(inputs.x_BWF))


@in_every_case(KINDS)
def test_one_score_per_window_in_its_dtype(kind: str, features: str, recipe: str) -> None:
    network = network_of(kind, features, recipe=recipe).eval()
    for dtype in (torch.float32, torch.float64):
        for sizes in ((1,), (7, 5)):
            score_N = batch_of(network, features, sizes=sizes).call(network.to(dtype), dtype)
            assert score_N.shape == (sum(sizes),)
            assert score_N.dtype == dtype


@pytest.mark.parametrize("kind", KINDS)
def test_a_seed_gives_the_same_network_and_the_same_pass(kind: str) -> None:
    def drawn() -> list[Tensor]:
        network = network_of(kind, seed=3)
        inputs = batch_of(network)
        return [*network.state_dict().values(), loss_of(network, inputs), inputs.call(network.eval())]

    for one, two in zip(drawn(), drawn(), strict=True):
        assert torch.equal(one, two)


@on_both_feature_sets(KINDS)
def test_order_and_company_change_no_score(kind: str, features: str) -> None:
    """Instruments may come in any order, and of other windows only those of the same date may matter, if any."""
    network = network_of(kind, features).eval()
    inputs = batch_of(network, features)
    score_N = inputs.call(network)
    for date in date_slices((7, 5)):
        size = date.stop - date.start
        alone = inputs.take(date, (size,) if inputs.sizes else None)
        assert_same(alone.call(network), score_N[date])
        order = torch.randperm(size, generator=torch.Generator().manual_seed(0))
        named = {name: value[order] for name, value in alone.named.items()}
        assert_same(replace(alone, x_BWF=alone.x_BWF[order], named=named).call(network), score_N[date][order])
    if inputs.sizes is None:
        assert_same(inputs.take(slice(2, 3)).call(network), score_N[2:3])


@pytest.mark.parametrize("kind", KINDS)
def test_stored_weights_score_as_before(kind: str) -> None:
    network, other = network_of(kind, seed=0).eval(), network_of(kind, seed=1).eval()
    stored = safetensors.torch.save({name: value.contiguous() for name, value in network.state_dict().items()})
    inputs = batch_of(network)
    learnt = bool(network.state_dict())
    assert torch.equal(inputs.call(other), inputs.call(network)) != learnt
    other.load_state_dict(safetensors.torch.load(stored))
    assert torch.equal(inputs.call(other), inputs.call(network))


@on_both_feature_sets(TRAINED)
def test_it_can_learn_a_batch_by_heart(kind: str, features: str) -> None:
    network = network_of(kind, features, dropout=0.0)
    inputs = batch_of(network, features, sizes=(16,))
    for module in network.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.momentum = 0.5  # running statistics that keep up with so few steps
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-2)

    @torch.no_grad()
    def error() -> float:
        return float(nn.functional.mse_loss(inputs.call(network.eval()), label_of(inputs)))

    first = least = error()
    for step in range(400):
        optimizer.zero_grad()
        loss_of(network.train(), inputs).backward()
        optimizer.step()
        if step % 10 == 9:
            least = min(least, error())
        if least < 0.1 * first:
            break
    assert least < 0.1 * first


EXTREMES: Mapping[str, Callable[[Tensor], Tensor]] = {
    "zero": torch.zeros_like,
    "all high": lambda x: torch.full_like(x, 3.0),
    "all low": lambda x: torch.full_like(x, -3.0),
    "both": lambda x: 3.0 * x.sign(),
    "constant in time": lambda x: x[:, :1].expand_as(x),
    "one instrument": lambda x: x[:1].expand_as(x),
}


@in_every_case(KINDS)
def test_finite_windows_give_finite_scores(kind: str, features: str, recipe: str) -> None:
    network = network_of(kind, features, recipe=recipe).eval()
    for name, change in EXTREMES.items():
        for sizes in ((4, 3), (1,)):
            inputs = changed(batch_of(network, features, sizes=sizes), change)
            assert inputs.call(network).isfinite().all(), name


@in_every_case(TRAINED)
def test_gradients_are_finite_and_reach_every_parameter(kind: str, features: str, recipe: str) -> None:
    """A parameter without a gradient would stop DistributedDataParallel; so would a batch of one."""
    network = network_of(kind, features, recipe=recipe)
    for name, change in {"drawn": torch.clone, **EXTREMES}.items():
        for sizes in ((4, 3), (1,)):
            for phase in [*pretraining_of(network), network]:
                inputs = changed(batch_of(network, features, sizes=sizes), change)
                phase.zero_grad()
                loss_of(phase.train(), inputs).backward()
                gradients = {of: value.grad for of, value in phase.named_parameters() if value.requires_grad}
                assert [of for of, value in gradients.items() if value is None] == [], name
                assert [of for of, value in gradients.items() if not value.isfinite().all()] == [], name


@pytest.mark.slow
def test_two_workers_train_every_network() -> None:
    """DistributedDataParallel without a search for unused parameters: it refuses a second step if there are any."""
    with tempfile.TemporaryDirectory() as folder:
        mp.spawn(member, (folder,), nprocs=2)
        zero, one = (safetensors.torch.load_file(Path(folder) / f"{rank}.safetensors") for rank in range(2))
    assert {name.partition(":")[0] for name in zero} == set(TRAINED)
    for name, value in zero.items():
        assert torch.equal(value, one[name]), name


@pytest.mark.slow
@traced_networks
def test_torch_and_onnxruntime_take_it_for_any_number_of_windows(kind: str) -> None:
    network = network_of(kind).eval()
    axes = axes_of(network, STEP_LEN, FEATURES["alpha158"])
    program = traced(network, axes)
    for number in (1, 2, 9):
        inputs = replace(batch_of(network, sizes=(number,)), sizes=None)
        assert_same(inputs.call(program.module()), inputs.call(network))
    pytest.importorskip("onnxruntime")
    assert largest_difference(encode(program, axes, metadata={}), network, axes) < TOLERANCE


def test_the_page_on_choosing_names_every_network() -> None:
    page = (Path(__file__).parents[2] / "docs" / "choosing-a-network.md").read_text()
    assert [kind for kind in KINDS if f"`{kind}`" not in page] == []
