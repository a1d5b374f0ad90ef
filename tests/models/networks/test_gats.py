"""GATs: dates padded beside each other equal dates alone, and what attention costs."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from raybench.models import build, takes_dates
from tests.models.dates import SIZES, assert_dates_stay_apart, samples
from tests.models.kept import kept_for_backward

FEATURES = {"type": "table", "columns": ["A", "B", "C"]}


def gats(**keys: Any) -> nn.Module:
    torch.manual_seed(0)
    model = {"type": "gats", "hidden_size": 8, "num_layers": 1, **keys}
    return build(model, feature_set=FEATURES, step_len=5).double()


@pytest.mark.parametrize("base_model", ["GRU", "LSTM"])
@pytest.mark.parametrize("sizes", SIZES)
def test_dates_beside_each_other_are_dates_alone(sizes: tuple[int, ...], base_model: str) -> None:
    network = gats(base_model=base_model)
    assert takes_dates(network)
    x_NWF, label_N = samples(sum(sizes))
    assert_dates_stay_apart(network, sizes, x_NWF, label_N)


def test_weights_can_be_looked_at() -> None:
    seen: list[Tensor] = []
    network = gats()
    network.get_submodule("attention").register_forward_hook(lambda module, given, weight: seen.append(weight))
    network(samples(5)[0], (3, 2))
    (weight_DMM,) = seen
    assert weight_DMM.shape == (2, 3, 3)
    torch.testing.assert_close(weight_DMM.sum(-1), torch.ones(2, 3, dtype=torch.float64))
    assert not weight_DMM[1, :, 2].any()
    assert (weight_DMM[1, :, :2] > 0).all()


def test_scores_follow_their_instruments() -> None:
    network, (x_NWF, _) = gats(), samples(7)
    order = torch.randperm(7)
    torch.testing.assert_close(network(x_NWF[order]), network(x_NWF)[order])


def test_others_of_the_date_matter() -> None:
    network, (x_NWF, _) = gats(), samples(7)
    assert not torch.allclose(network(x_NWF[:6]), network(x_NWF)[:6])


def test_two_tables_of_pairs_are_kept_and_no_more() -> None:
    """A vector for each pair would be 2 H = 16 tables."""
    number = 400
    network, x_NWF = gats().float(), torch.zeros(number, 5, 3)
    sizes = kept_for_backward(lambda: network(x_NWF))
    assert sum(bytes_ >= number * number * 4 for bytes_ in sizes.values()) == 2


PEAK = """
import sys, torch
from raybench.models import build
torch.set_num_threads(1)

def peak():  # of this process alone: what getrusage tells starts with that of the one that began it
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) * 1024 for line in file if line.startswith("VmHWM"))

kind, steps, width = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
features = {"type": "table", "columns": [f"F{i}" for i in range(width)]}
network = build({"type": kind, "base_model": "LSTM"}, feature_set=features, step_len=steps)
x_NWF = torch.randn(5000, steps, width)
extra = {"concepts": (torch.rand(5000, 300) < 0.02).float()} if kind == "hist" else {}
before = peak()
network(x_NWF, **extra).square().mean().backward()
print(peak() - before)
"""


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="/proc tells the peak on Linux alone")
@pytest.mark.parametrize(("kind", "steps", "features"), [("gats", 60, 6), ("hist", 20, 20)])
def test_a_date_of_5000_fits_in_2_gb(kind: str, steps: int, features: int) -> None:
    """Forward and backward pass in Qlib's benchmark sizes, the recurrent base included, above what torch takes."""
    command = [sys.executable, "-c", PEAK, kind, str(steps), str(features)]
    ended = subprocess.run(command, capture_output=True, text=True, check=True)
    assert 0 < int(ended.stdout) < 2e9
