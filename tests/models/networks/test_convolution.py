"""TCN, KRNN and Sandwich: what they look at, and what recipe qlib makes of their axes."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from raybench.errors import ConfigError
from raybench.models import build
from raybench.models.networks.tcn import TCN

ALPHA360 = {"type": "alpha360"}
SMALL: dict[str, dict[str, Any]] = {
    "krnn": {"cnn_dim": 5, "rnn_dim": 4, "rnn_dups": 2},
    "sandwich": {"cnn_dim_1": 5, "cnn_dim_2": 4, "rnn_dim_1": 3, "rnn_dim_2": 4, "rnn_dups": 2},
    "tcn": {"n_chans": 5, "kernel_size": 3, "num_layers": 2, "dropout": 0.0},
}


def columns(number: int) -> dict[str, Any]:
    return {"type": "table", "columns": [f"F{i}" for i in range(number)]}


def make(kind: str, *, features: int = 6, step_len: int = 60, recipe: str = "raybench", **keys: Any) -> nn.Module:
    torch.manual_seed(0)
    model = {"type": kind, **SMALL[kind], **keys}
    return build(model, feature_set=columns(features), step_len=step_len, recipe=recipe).double().eval()


def windows(step_len: int, features: int, samples: int = 4) -> Tensor:
    return torch.randn(samples, step_len, features, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def dilated(network: TCN, x_NWF: Tensor) -> Tensor:
    """Compute the scores as the paper has them: every step of every block, dilation 2^i in block i."""
    y_NCW = x_NWF.transpose(1, 2)
    for number, block in enumerate(network.tcn.network):
        inner_NCW = y_NCW
        for part in (block.conv1, block.conv2):
            length = part.weight_v.square().sum(dim=(1, 2), keepdim=True).sqrt()
            before, dilation = (part.weight_v.shape[2] - 1) * 2**number, 2**number
            padded = torch.cat([torch.zeros(*inner_NCW.shape[:2], before, dtype=inner_NCW.dtype), inner_NCW], dim=2)
            weight = part.weight_g * part.weight_v / length
            inner_NCW = functional.conv1d(padded, weight, part.bias, dilation=dilation).clamp(min=0)
        y_NCW = (inner_NCW + (y_NCW if block.downsample is None else block.downsample(y_NCW))).clamp(min=0)
    return network.linear(y_NCW[:, :, -1])[:, 0]


@pytest.mark.parametrize("kernel_size", [1, 2, 3, 7])
@pytest.mark.parametrize("step_len", [1, 2, 7, 20, 61])
def test_every_second_step_gives_the_dilated_convolutions(step_len: int, kernel_size: int) -> None:
    network = make("tcn", step_len=step_len, kernel_size=kernel_size, num_layers=4)
    with torch.no_grad():  # lengths other than those of the directions
        for name, value in network.named_parameters():
            if name.endswith("weight_g"):
                value.mul_(1.5)
    x_NWF = windows(step_len, 6)
    torch.testing.assert_close(network(x_NWF), dilated(network, x_NWF), atol=1e-12, rtol=1e-10)


@pytest.mark.parametrize(("kernel_size", "num_layers", "reach"), [(3, 2, 13), (2, 4, 31), (7, 1, 13)])
def test_tcn_sees_as_far_back_as_promised(kernel_size: int, num_layers: int, reach: int) -> None:
    network = make("tcn", kernel_size=kernel_size, num_layers=num_layers, n_chans=32)
    x_NWF = windows(60, 6, samples=64).requires_grad_()
    network(x_NWF).sum().backward()
    assert x_NWF.grad is not None
    seen_W = x_NWF.grad.abs().amax(dim=(0, 2)) > 0
    assert seen_W.nonzero().min() == 60 - reach
    assert seen_W[-1]


def test_no_step_of_a_block_sees_a_later_one() -> None:
    block = make("tcn").tcn.network[0]
    x_NFS = windows(6, 20)
    later_NFS = x_NFS.clone()
    later_NFS[:, :, 12] += 1.0
    changed_S = (block(later_NFS) != block(x_NFS)).any(dim=1).any(dim=0)
    assert changed_S.nonzero().min() == 12


def test_a_fresh_convolution_is_drawn_as_torch_does() -> None:
    """Weight normalisation starts with g = |v|; only the 1x1 convolution is drawn smaller, as in Qlib."""
    network = build({"type": "tcn", "n_chans": 64}, feature_set=ALPHA360, step_len=60)
    for name, value in network.state_dict().items():
        if name.endswith("weight_g"):
            direction = network.state_dict()[name.replace("weight_g", "weight_v")]
            torch.testing.assert_close(value, direction.norm(dim=(1, 2), keepdim=True))
            assert direction.abs().max() <= (direction.shape[1] * direction.shape[2]) ** -0.5
    assert 0.008 < network.tcn.network[0].downsample.weight.std() < 0.012


@pytest.mark.parametrize("kind", sorted(SMALL))
def test_features_are_channels(kind: str) -> None:
    """Whatever reads features first can have them in any order; time has only one."""
    network, x_NWF = make(kind, features=20, step_len=20), windows(20, 20)
    score_N = network(x_NWF)
    shuffled = torch.randperm(20, generator=torch.Generator().manual_seed(2))
    first = {"tcn": "tcn.network.0.", "krnn": "encoder.cnn_encoder.", "sandwich": "first_encoder.cnn_encoder."}[kind]
    with torch.no_grad():
        for name, value in network.named_parameters():
            if name.startswith(first) and value.dim() == 3 and value.shape[1] == 20:
                value.copy_(value[:, shuffled].clone())
    torch.testing.assert_close(network(x_NWF[:, :, shuffled]), score_N, atol=1e-12, rtol=1e-10)
    assert not torch.allclose(network(x_NWF[:, shuffled][:, :, shuffled]), score_N, atol=1e-3)


def test_tcn_of_qlib_takes_rows_for_channels() -> None:
    right, wrong = make("tcn", features=20, step_len=20), make("tcn", features=20, step_len=20, recipe="qlib")
    x_NWF = windows(20, 20)
    assert torch.equal(wrong(x_NWF), right(x_NWF.transpose(1, 2)))
    assert not torch.allclose(wrong(x_NWF), right(x_NWF), atol=1e-3)


def test_tcn_of_qlib_is_trained_the_right_way_round() -> None:
    right, wrong = make("tcn", features=20, step_len=20), make("tcn", features=20, step_len=20, recipe="qlib")
    wrong.load_state_dict(right.state_dict())
    x_NWF = windows(20, 20)
    assert not torch.allclose(wrong(x_NWF), right(x_NWF))
    wrong.fitting = True
    assert torch.equal(wrong(x_NWF), right(x_NWF))


def test_tcn_of_qlib_reads_alpha360_rightly() -> None:
    x_NWF = windows(60, 6)
    assert torch.equal(make("tcn", recipe="qlib")(x_NWF), make("tcn")(x_NWF))


def test_tcn_of_qlib_needs_as_many_rows_as_features() -> None:
    with pytest.raises(ConfigError, match=r"^data\.step_len: .* 20 rows of 158; set data\.step_len to 158") as caught:
        build({"type": "tcn"}, feature_set={"type": "alpha158"}, step_len=20, recipe="qlib")
    assert "\n" not in str(caught.value)


def as_qlib_reads(x_NWF: Tensor) -> Tensor:
    """Lay a window out as a flat row, one feature's lags after the other's, and count off steps from its start."""
    samples, steps, features = x_NWF.shape
    flat_NK = torch.stack([x_NWF[:, step, feature] for feature in range(features) for step in range(steps)], dim=1)
    rows = [flat_NK[:, step * features : (step + 1) * features] for step in range(steps)]
    assert len(rows) == steps
    assert rows[0].shape == (samples, features)
    return torch.stack(rows, dim=1)


@pytest.mark.parametrize("kind", ["krnn", "sandwich"])
def test_qlib_mixes_up_time_and_features(kind: str) -> None:
    right, wrong, x_NWF = make(kind), make(kind, recipe="qlib"), windows(60, 6)
    mixed_NWF = as_qlib_reads(x_NWF)
    assert torch.equal(mixed_NWF[:, 0], x_NWF[:, :6, 0])  # a step is six lags of the first field
    assert torch.equal(wrong(x_NWF), right(mixed_NWF))
    assert torch.equal(wrong(x_NWF.transpose(1, 2).reshape(4, 360)), right(mixed_NWF))
    assert not torch.allclose(wrong(x_NWF), right(x_NWF), atol=1e-3)


@pytest.mark.parametrize("kind", ["krnn", "sandwich"])
def test_a_kernel_of_even_length_is_refused(kind: str) -> None:
    with pytest.raises(ConfigError, match=r"model\.cnn_kernel_size.*want an odd number.*got 4"):
        build({"type": kind, "cnn_kernel_size": 4}, feature_set=ALPHA360, step_len=60)


def test_krnn_averages_its_copies() -> None:
    three, one = make("krnn", rnn_dups=3), make("krnn", rnn_dups=1)
    one.load_state_dict({name: value for name, value in three.state_dict().items() if name in one.state_dict()})
    x_NWF, copies = windows(60, 6), three.encoder.krnn_encoder.rnn_modules
    assert not torch.allclose(three(x_NWF), one(x_NWF), atol=1e-3)
    for copy in copies[1:]:
        copy.load_state_dict(copies[0].state_dict())
    torch.testing.assert_close(three(x_NWF), one(x_NWF), atol=1e-12, rtol=1e-10)


def test_krnn_in_stretches_of_time_changes_no_number() -> None:
    network, x_NWF = make("krnn"), windows(60, 6)
    whole_N = network(x_NWF)
    network.checkpoint_chunks = 7
    torch.testing.assert_close(network(x_NWF), whole_N, atol=1e-12, rtol=1e-10)
