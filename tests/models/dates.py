"""What is asked of every network that compares the instruments of a date."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import accumulate, pairwise

import torch
from torch import Tensor, nn

SIZES = [(4,), (3, 3), (5, 1, 7, 2), (1,), (1, 6)]
Extra = Callable[[slice], dict[str, Tensor]]


def samples(number: int, steps: int = 5, features: int = 3) -> tuple[Tensor, Tensor]:
    """Windows and labels in float64."""
    torch.manual_seed(number)
    return torch.randn(number, steps, features, dtype=torch.float64), torch.randn(number, dtype=torch.float64)


def gradients(network: nn.Module) -> dict[str, Tensor]:
    """Take the gradients that have been summed up so far."""
    found = {name: value.grad.clone() for name, value in network.named_parameters() if value.grad is not None}
    network.zero_grad()
    return found


def assert_dates_stay_apart(
    network: nn.Module,
    sizes: tuple[int, ...],
    x_NWF: Tensor,
    label_N: Tensor,
    extra: Extra = lambda rows: {},
) -> None:
    """Scores and the summed gradient of several dates in one call are those of one date at a time."""
    score_N = network(x_NWF, sizes, **extra(slice(None)))
    (score_N - label_N).square().sum().backward()
    together = gradients(network)
    alone = []
    for rows in date_slices(sizes):
        alone.append(network(x_NWF[rows], **extra(rows)))
        (alone[-1] - label_N[rows]).square().sum().backward()
    torch.testing.assert_close(score_N, torch.cat(alone), atol=1e-12, rtol=1e-10)
    one_by_one = gradients(network)
    assert one_by_one.keys() == together.keys() == dict(network.named_parameters()).keys()
    for name, value in one_by_one.items():
        assert torch.isfinite(together[name]).all(), name
        torch.testing.assert_close(together[name], value, atol=1e-10, rtol=1e-8)


def date_slices(sizes: tuple[int, ...]) -> Iterator[slice]:
    """Give the slice of each date among samples that are one date after the other."""
    for start, stop in pairwise(accumulate(sizes, initial=0)):
        yield slice(start, stop)
