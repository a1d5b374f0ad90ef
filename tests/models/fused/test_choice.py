"""Fused layers run where they are wanted, and nowhere that they cannot do what torch's own do."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from raybench.models.fused.choice import applies, fused_layers, plain
from raybench.models.layers.recurrence import run
from raybench.models.precision import MixedPrecision


def asked(x: Tensor) -> bool:
    """Whether fused layers would be run, where they are wanted."""
    with fused_layers():
        return applies(x)


def test_nobody_gets_them_unasked() -> None:
    assert not applies(torch.zeros(2, 3, 4))
    with fused_layers():
        assert applies(torch.zeros(2, 3, 4))
        with fused_layers(False):
            assert not applies(torch.zeros(2, 3, 4))
    assert not applies(torch.zeros(2, 3, 4))


@pytest.mark.parametrize(
    "x",
    [
        torch.zeros(2, 3, 4, dtype=torch.bfloat16),
        torch.zeros(2, 3, 4, dtype=torch.int64),
        torch.zeros(2, 3, 4, device="meta"),
        torch.zeros(0, 3, 4),
    ],
)
def test_not_for_other_types_and_places(x: Tensor) -> None:
    assert not asked(x)


def test_not_for_mixed_types() -> None:
    with fused_layers():
        assert not applies(torch.zeros(2, 3, 4), torch.zeros(1, 2, 3, dtype=torch.float64))


def test_not_in_mixed_precision() -> None:
    with MixedPrecision("cpu"):
        assert not asked(torch.zeros(2, 3, 4))


def transformed(look: Callable[[Tensor], None]) -> None:
    torch.func.grad(lambda x: (look(x), x.sum())[1])(torch.zeros(2, 3, 4))


def traced(look: Callable[[Tensor], None]) -> None:
    torch.jit.trace(lambda x: (look(x), x + 1)[1], torch.zeros(2, 3, 4), check_trace=False)


def forward_mode(look: Callable[[Tensor], None]) -> None:
    with torch.autograd.forward_ad.dual_level():
        look(torch.zeros(2, 3, 4))


def counted(look: Callable[[Tensor], None]) -> None:
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False):
        look(torch.zeros(2, 3, 4))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("watched", [transformed, traced, forward_mode, counted])
def test_not_where_somebody_looks_at_single_operations(watched: Callable[[Any], None]) -> None:
    seen: list[bool] = []
    watched(lambda x: seen.append(asked(x)))
    assert seen
    assert not any(seen)


@pytest.mark.parametrize(
    ("rnn", "is_plain"),
    [
        (nn.GRU(2, 3), True),
        (nn.LSTM(2, 3, 2, bidirectional=True), True),
        (nn.LSTM(2, 3, proj_size=2), False),
        (nn.GRU(2, 3, bias=False), False),
        (nn.RNN(2, 3), False),
    ],
)
def test_which_networks_are_plain(rnn: nn.RNNBase, is_plain: bool) -> None:
    assert plain(rnn) is is_plain


def test_hooks_see_a_call() -> None:
    """What `explain` watches is called as ever."""
    rnn, seen = nn.GRU(2, 3, batch_first=True), []
    rnn.register_forward_hook(lambda *_: seen.append(True))
    with fused_layers():
        run(rnn, torch.zeros(2, 3, 2))
    assert seen == [True]


def test_numba_waits_until_it_is_needed() -> None:
    code = "import sys, raybench.models; sys.exit('numba' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
