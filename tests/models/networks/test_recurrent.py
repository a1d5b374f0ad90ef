"""GRU and LSTM: flat rows, and against themselves in stretches of time."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from raybench.models import build, unflatten_alpha360
from raybench.models.layers import recurrence
from tests.models.kept import kept_for_backward

ALPHA360 = {"type": "alpha360"}


def gradients(network: nn.Module, x: Tensor, label_N: Tensor) -> dict[str, Tensor]:
    network.zero_grad()
    nn.functional.mse_loss(network(x), label_N).backward()
    return {name: value.grad.clone() for name, value in network.named_parameters() if value.grad is not None}


def test_flat_rows_are_blocks_of_lags() -> None:
    field_by_lag = torch.arange(360.0).reshape(6, 60)
    x_NWF = unflatten_alpha360(field_by_lag.reshape(1, 360))
    assert torch.equal(x_NWF[0], field_by_lag.T)


@pytest.mark.parametrize("kind", ["gru", "lstm"])
def test_flat_rows_score_as_windows(kind: str) -> None:
    torch.manual_seed(0)
    network = build({"type": kind}, feature_set=ALPHA360, step_len=60)
    x_NK = torch.randn(5, 360)
    assert torch.equal(network(x_NK), network(unflatten_alpha360(x_NK)))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("chunks", [2, 7, 60])
@pytest.mark.parametrize("kind", ["gru", "lstm"])
def test_stretches_of_time_change_no_number(kind: str, chunks: int, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    network = build({"type": kind}, feature_set=ALPHA360, step_len=60).to(dtype)
    x_NWF, label_N = torch.randn(9, 60, 6, dtype=dtype), torch.randn(9, dtype=dtype)
    whole, whole_score_N = gradients(network, x_NWF, label_N), network(x_NWF)
    network.checkpoint_chunks = chunks

    tolerance = 1e-12 if dtype == torch.float64 else 2e-7
    torch.testing.assert_close(network(x_NWF), whole_score_N, atol=tolerance, rtol=1e-6)
    found = gradients(network, x_NWF, label_N)
    for name, value in whole.items():
        torch.testing.assert_close(found[name], value, atol=tolerance, rtol=1e-5)


@pytest.mark.parametrize("kind", ["gru", "lstm"])
def test_dropout_is_drawn_again_as_it_was(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the backward pass computes again uses the dropout masks of the forward pass."""
    torch.manual_seed(0)
    network = build({"type": kind, "dropout": 0.5}, feature_set=ALPHA360, step_len=60).double()
    x_NWF, label_N = torch.randn(9, 60, 6, dtype=torch.float64), torch.randn(9, dtype=torch.float64)
    network.checkpoint_chunks = 4

    def seeded() -> dict[str, Tensor]:
        torch.manual_seed(1)
        return gradients(network, x_NWF, label_N)

    found = seeded()
    monkeypatch.setattr(recurrence, "checkpoint", lambda run, *inputs, use_reentrant: run(*inputs))
    kept = seeded()
    for name, value in kept.items():
        torch.testing.assert_close(found[name], value, atol=1e-12, rtol=1e-10)


@pytest.mark.parametrize("kind", ["gru", "lstm"])
def test_stretches_of_time_keep_less(kind: str) -> None:
    network = build({"type": kind}, feature_set=ALPHA360, step_len=60)
    x_NWF = torch.zeros(9, 60, 6)

    def kept_bytes() -> int:
        return sum(kept_for_backward(lambda: network(x_NWF)).values())

    whole = kept_bytes()
    network.checkpoint_chunks = 8
    assert kept_bytes() < whole / 4
