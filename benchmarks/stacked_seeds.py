"""K seeds of a GRU as one stacked model, against the same seeds one after the other: what of it pays.

    python benchmarks/stacked_seeds.py [--device cuda]

Forward and backward of two layers, batch 800, hidden 64, windows of 20 rows of 20 features, each seed with a batch of
its own. Stacked: weights [K, ...], one `baddbmm` a step for all seeds, the input projection of all steps in one
product. Rivals, by turns in one process: `torch.nn.GRU` K times, and on a CPU the fused layers that trainings use.
Seconds of all K seeds together, medians; the ratio is to the faster rival. First it is shown that all give the same
gradients.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial

import torch
from torch import Tensor, nn

from benchmarks._measure import measured, use_cores
from raybench.models.fused.choice import fused_layers
from raybench.models.layers.recurrence import run

BATCH, STEPS, FEATURES, HIDDEN, LAYERS = 800, 20, 20, 64, 2
PARTS = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")


class StackedGRU(nn.Module):
    """K networks of equal shape: x [K, B, W, F] -> hidden state of the last step [K, B, H]."""

    def __init__(self, networks: list[nn.GRU]) -> None:
        super().__init__()

        def stacked(name: str) -> nn.Parameter:
            values = torch.stack([getattr(network, name).detach() for network in networks])
            return nn.Parameter(values.transpose(1, 2).contiguous() if values.dim() == 3 else values[:, None])

        names = [f"{part}_l{layer}" for layer in range(LAYERS) for part in PARTS]
        self.values = nn.ParameterDict({name: stacked(name) for name in names})

    def forward(self, x_KBWF: Tensor) -> Tensor:
        """Gates in the order reset, update, new, as torch has them."""
        value_KBWC = x_KBWF
        for layer in range(LAYERS):
            w_ih, w_hh, b_ih, b_hh = (self.values[f"{part}_l{layer}"] for part in PARTS)
            k, b, w, c = value_KBWC.shape
            gates = torch.baddbmm(b_ih, value_KBWC.reshape(k, b * w, c), w_ih).view(k, b, w, -1)
            hidden, states = value_KBWC.new_zeros(k, b, HIDDEN), []
            for step in range(w):
                own = torch.baddbmm(b_hh, hidden, w_hh)
                reset_in, update_in, new_in = gates[:, :, step].chunk(3, dim=-1)
                reset_own, update_own, new_own = own.chunk(3, dim=-1)
                reset, update = torch.sigmoid(reset_in + reset_own), torch.sigmoid(update_in + update_own)
                new = torch.tanh(new_in + reset * new_own)
                hidden = new + update * (hidden - new)
                states.append(hidden)
            value_KBWC = torch.stack(states, dim=2)
        return value_KBWC[:, :, -1]


def one_after_the_other(networks: list[nn.GRU], x_KBWF: Tensor) -> None:
    """A step of each."""
    for network, x_BWF in zip(networks, x_KBWF, strict=True):
        network.zero_grad()
        output, _ = run(network, x_BWF)
        output[:, -1].square().mean().backward()


def all_at_once(network: StackedGRU, x_KBWF: Tensor) -> None:
    """The same of the stack."""
    network.zero_grad()
    network(x_KBWF).square().mean(dim=(1, 2)).sum().backward()


def seconds(work: Callable[[], None], device: str) -> float:
    """Of one call."""
    began = time.perf_counter()
    work()
    if device != "cpu":
        torch.cuda.synchronize()
    return time.perf_counter() - began


def main() -> None:
    """Print seconds and ratios for 1 to 16 seeds."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--device", default="cpu")
    options.add_argument("--cores", type=int, default=2)
    options.add_argument("--repeats", type=int, default=9)
    given = options.parse_args()
    use_cores(given.cores)
    with measured(f"stacked seeds of GRU, {given.device}, {given.cores} cores") as figures:
        for number in (1, 2, 4, 8, 16):
            torch.manual_seed(0)
            networks = [nn.GRU(FEATURES, HIDDEN, LAYERS, batch_first=True).to(given.device) for _ in range(number)]
            stack, x_KBWF = StackedGRU(networks), torch.randn(number, BATCH, STEPS, FEATURES, device=given.device)
            ways: dict[str, Callable[[], None]] = {
                "stacked": partial(all_at_once, stack, x_KBWF),
                "torch": partial(_within, False, networks, x_KBWF),
            }
            if given.device == "cpu":
                ways["fused"] = partial(_within, True, networks, x_KBWF)
            for work in ways.values():
                work()
            assert_equal(stack, networks)
            turns = [{name: seconds(work, given.device) for name, work in ways.items()} for _ in range(given.repeats)]
            taken = {name: statistics.median(turn[name] for turn in turns) for name in ways}
            rival = min(value for name, value in taken.items() if name != "stacked")
            figures |= {f"{number}_{name}_ms": value * 1e3 for name, value in taken.items()}
            figures[f"{number}_stacked_of_the_faster"] = taken["stacked"] / rival


def _within(fused: bool, networks: list[nn.GRU], x_KBWF: Tensor) -> None:
    with fused_layers() if fused else nullcontext():
        one_after_the_other(networks, x_KBWF)


def assert_equal(stack: StackedGRU, networks: list[nn.GRU]) -> None:
    """The stack and the networks have learned the same."""
    found = stack.values["weight_hh_l0"].grad
    wanted = [network.weight_hh_l0.grad for network in networks]
    assert found is not None
    for one, other in zip(found, wanted, strict=True):
        assert other is not None
        torch.testing.assert_close(one.T, other, atol=1e-6, rtol=1e-4)


if __name__ == "__main__":
    main()
