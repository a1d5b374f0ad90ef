"""A fused layer gives what torch's own does, forward and backward, and the same bits on any number of threads."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from raybench.models.fused.choice import fused_layers
from raybench.models.fused.layer import TILE
from raybench.models.layers.cells import Mode
from raybench.models.layers.recurrence import run
from raybench.models.layers.regularisation import RegularisedRNN

KINDS = {"gru": nn.GRU, "lstm": nn.LSTM}
SIZES = {  # samples, rows, features, hidden units
    "as trained": (300, 20, 20, 64),
    "two tiles, odd widths": (TILE + 3, 7, 5, 10),
    "more columns than a vector": (5, 3, 33, 40),
    "one of all": (1, 1, 1, 1),
}


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


@contextmanager
def threads(number: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def made(rnn: nn.RNNBase, x: Tensor, state: tuple[Tensor, ...] = (), *, fused: bool = True) -> list[Tensor]:
    """All that a network gives: every state, then the last ones."""
    begin = None if not state else state[0] if len(state) == 1 else (state[0], state[1])
    with fused_layers(fused):
        out, final = run(rnn, x, begin)
    return [out, final] if isinstance(final, Tensor) else [out, *final]


def gradients(of: list[Tensor], at: list[Tensor]) -> list[Tensor]:
    """Of a sum in which every number weighs otherwise."""
    generator = torch.Generator().manual_seed(1)
    total = sum((value * torch.randn(value.shape, generator=generator, dtype=value.dtype)).sum() for value in of)
    assert isinstance(total, Tensor)
    return list(torch.autograd.grad(total / len(of[0]), at))


def assert_close(ours: list[Tensor], theirs: list[Tensor]) -> None:
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6, equal_nan=True)


def is_fused(value: Tensor) -> bool:
    """Whether a result has a fused layer behind it."""
    open_, seen = [value.grad_fn], set()
    while open_:
        node = open_.pop()
        if node is None or node in seen:
            continue
        if node.name() == "_LayerBackward":
            return True
        seen.add(node)
        open_ += [below for below, _ in node.next_functions]
    return False


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("kind", KINDS)
def test_outputs_and_gradients_are_torchs(kind: str, size: str) -> None:
    """Two layers, both directions, from states of its own; all that comes out has a gradient."""
    samples, steps, features, hidden = SIZES[size]
    rnn = KINDS[kind](features, hidden, 2, batch_first=True, bidirectional=True)
    x = torch.randn(samples, steps, features, requires_grad=True)
    state = tuple(torch.randn(4, samples, hidden, requires_grad=True) for _ in range(1 if kind == "gru" else 2))
    at = [x, *state, *rnn.parameters()]
    ours, theirs = made(rnn, x, state), made(rnn, x, state, fused=False)
    assert is_fused(ours[0])
    assert not is_fused(theirs[0])
    assert_close(ours, theirs)
    assert_close(gradients(ours, at), gradients(theirs, at))


def zoned(kind: str, hidden: int, **options: Any) -> RegularisedRNN:
    """Two layers in both directions, of whose states 0.3 stay as they were at each step."""
    mode: Mode = "GRU" if kind == "gru" else "LSTM"
    return RegularisedRNN(mode, 5, hidden, 2, bidirectional=True, zoneout=0.3, **options)


def called(rnn: RegularisedRNN, x: Tensor, state: tuple[Tensor, ...] = (), *, fused: bool = True) -> list[Tensor]:
    """All that it gives, with the same noise each time."""
    torch.manual_seed(3)
    return made(rnn, x, state, fused=fused)


@pytest.mark.parametrize("hidden", [10, 64])
@pytest.mark.parametrize("kind", KINDS)
def test_zoneout_is_that_of_the_cell_written_out(kind: str, hidden: int) -> None:
    """The same units keep their values, with all other noise on, too; forward and backward, from states of its own."""
    rnn = zoned(kind, hidden, dropout=0.2, variational_dropout=0.1, recurrent_dropconnect=0.2)
    x = torch.randn(TILE + 3, 7, 5, requires_grad=True)
    state = tuple(torch.randn(4, len(x), hidden, requires_grad=True) for _ in range(1 if kind == "gru" else 2))
    at = [x, *state, *rnn.parameters()]
    ours, theirs = called(rnn, x, state), called(rnn, x, state, fused=False)
    assert is_fused(ours[0])
    assert not is_fused(theirs[0])
    assert_close(ours, theirs)
    assert_close(gradients(ours, at), gradients(theirs, at))


@pytest.mark.parametrize("kind", KINDS)
def test_in_evaluation_zoneout_is_its_mean(kind: str) -> None:
    """Without a gradient by the kernel; with one by the cell written out, since shares have another."""
    rnn, x = zoned(kind, 8).eval(), torch.randn(9, 6, 5, requires_grad=True)
    ours, theirs = called(rnn, x), called(rnn, x, fused=False)
    assert not is_fused(ours[0])
    assert_close(gradients(ours, [x]), gradients(theirs, [x]))
    with torch.no_grad():
        without = called(rnn, x)
    assert_close(without, [value.detach() for value in theirs])
    assert not torch.equal(without[0], theirs[0]), "another kernel ran"


@pytest.mark.parametrize("kind", KINDS)
def test_with_zoneout_a_gradient_has_a_gradient(kind: str) -> None:
    rnn, x = zoned(kind, 6), torch.randn(4, 5, 5, requires_grad=True)
    found = []
    for fused in (True, False):
        (first,) = torch.autograd.grad(called(rnn, x, fused=fused)[0].pow(3).sum(), x, create_graph=True)
        found.append(list(torch.autograd.grad(first.pow(2).sum(), [x, *rnn.parameters()])))
    assert_close(*found)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("part", [slice(0, 1), slice(1, 2)])
def test_only_the_states_or_only_the_last_ones_may_have_a_gradient(kind: str, part: slice) -> None:
    rnn, x = KINDS[kind](3, 6, batch_first=True), torch.randn(9, 5, 3)
    at = list(rnn.parameters())
    assert_close(gradients(made(rnn, x)[part], at), gradients(made(rnn, x, fused=False)[part], at))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("backwards", [False, True])
def test_gradients_in_float64_are_those_of_small_differences(kind: str, backwards: bool) -> None:
    from raybench.models.fused.layer import Weights, run_layer

    cell = KINDS[kind](2, 3).double()
    x = torch.randn(4, 3, 2, dtype=torch.float64, requires_grad=True)
    state = [torch.randn(4, 3, dtype=torch.float64, requires_grad=True) for _ in range(1 if kind == "gru" else 2)]
    weights = [value.detach().clone().requires_grad_() for value in cell.parameters()]

    def layer(*given: Tensor) -> tuple[Tensor, ...]:
        x, states, weights = given[0], given[1 : 1 + len(state)], given[1 + len(state) :]
        out, last = run_layer(x, states, Weights(*weights), backwards=backwards)
        return (out, *last)

    assert torch.autograd.gradcheck(layer, (x, *state, *weights))


@pytest.mark.parametrize("kind", KINDS)
def test_a_gradient_has_a_gradient(kind: str) -> None:
    rnn, x = KINDS[kind](3, 6, batch_first=True, bidirectional=True), torch.randn(9, 5, 3, requires_grad=True)

    def twice(*, fused: bool) -> list[Tensor]:
        (first,) = torch.autograd.grad(made(rnn, x, fused=fused)[0].square().sum(), x, create_graph=True)
        return list(torch.autograd.grad(first.square().sum(), [x, *rnn.parameters()]))

    assert_close(twice(fused=True), twice(fused=False))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf"), 1e30])
def test_what_is_not_finite_goes_where_it_goes_in_torch(kind: str, bad: float) -> None:
    """It spoils its own sample only, and there what it spoils in torch; of 5 hidden units, so that padding shows."""
    rnn, x = KINDS[kind](3, 5, 2, batch_first=True), torch.randn(11, 6, 3)
    x[4, 2, 1] = bad
    ours, theirs = made(rnn, x), made(rnn, x, fused=False)
    assert_close(ours, theirs)
    at = list(rnn.parameters())
    for one, other in zip(gradients(ours, at), gradients(theirs, at), strict=True):
        assert torch.equal(one.isfinite(), other.isfinite())


@pytest.mark.parametrize("kind", KINDS)
def test_bits_do_not_depend_on_threads(kind: str) -> None:
    rnn, x = KINDS[kind](6, 16, 2, batch_first=True), torch.randn(3 * TILE, 5, 6)
    at = list(rnn.parameters())
    found = []
    for number in (1, 2, 5):
        with threads(number):
            one = made(rnn, x)
            found.append([*one, *gradients(one, at)])
    assert all(torch.equal(one, other) for more in found[1:] for one, other in zip(found[0], more, strict=True))


@pytest.mark.parametrize("kind", KINDS)
def test_without_a_gradient_the_bits_are_the_same(kind: str) -> None:
    rnn, x = KINDS[kind](6, 16, 2, batch_first=True), torch.randn(TILE + 1, 5, 6)
    with torch.no_grad():
        scored = made(rnn, x)
    assert all(torch.equal(one, other) for one, other in zip(scored, made(rnn, x), strict=True))


def test_a_graph_may_be_gone_through_twice() -> None:
    rnn, x = nn.GRU(3, 6, batch_first=True), torch.randn(9, 5, 3)
    total = made(rnn, x)[0].sum()
    first, second = (torch.autograd.grad(total, list(rnn.parameters()), retain_graph=keep) for keep in (True, False))
    assert all(torch.equal(one, other) for one, other in zip(first, second, strict=True))


@pytest.mark.parametrize("frozen", ["weights", "input"])
def test_only_what_is_wanted_has_a_gradient(frozen: str) -> None:
    rnn, x = nn.LSTM(3, 6, batch_first=True), torch.randn(9, 5, 3, requires_grad=frozen == "weights")
    rnn.requires_grad_(frozen == "input")
    at = [x] if frozen == "weights" else list(rnn.parameters())
    assert_close(gradients(made(rnn, x), at), gradients(made(rnn, x, fused=False), at))


@pytest.mark.parametrize("kind", KINDS)
def test_dropout_between_layers_draws_what_torch_draws(kind: str) -> None:
    rnn, x = KINDS[kind](3, 6, 3, batch_first=True, dropout=0.4), torch.randn(50, 5, 3)
    torch.manual_seed(7)
    ours = made(rnn, x)
    torch.manual_seed(7)
    assert_close(ours, made(rnn, x, fused=False))
    rnn.eval()
    assert_close(made(rnn, x), made(rnn, x, fused=False))


def test_time_may_come_first() -> None:
    rnn, x = nn.GRU(3, 6, 2), torch.randn(5, 9, 3)
    assert is_fused(made(rnn, x)[0])
    assert_close(made(rnn, x), made(rnn, x, fused=False))


CODE = """
import torch
from tests.models.fused.test_layer import assert_close, gradients, made
torch.manual_seed(0)
for kind in (torch.nn.GRU, torch.nn.LSTM):
    rnn, x = kind(5, 20, batch_first=True), torch.randn(9, 4, 5, requires_grad=True)
    at = [x, *rnn.parameters()]
    ours, theirs = made(rnn, x), made(rnn, x, fused=False)
    assert_close(ours, theirs)
    assert_close(gradients(ours, at), gradients(theirs, at))
"""


@pytest.mark.slow
@pytest.mark.skipif(platform.machine() != "x86_64", reason="names a processor of that kind")
def test_older_processors_give_the_same(tmp_path: Path) -> None:
    """Without AVX and fused additions: vectors are then made of shorter ones."""
    asked = {**os.environ, "NUMBA_CPU_NAME": "x86-64", "NUMBA_CACHE_DIR": str(tmp_path)}
    subprocess.run([sys.executable, "-c", CODE], env=asked, check=True)
