"""Any number of gloo workers walks through the same training."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch.multiprocessing as mp

from tests.training.member import fused_member, member


def trajectory(size: int, precision: str, one: Callable[..., None] = member) -> np.ndarray:
    """Train with ``size`` processes; all of them must report the same."""
    with tempfile.TemporaryDirectory() as folder:
        mp.spawn(one, (size, f"{folder}/rendezvous", precision, folder), nprocs=size)
        ranks = [np.load(Path(folder) / f"{rank}.npy") for rank in range(size)]
    for other in ranks[1:]:
        np.testing.assert_array_equal(ranks[0], other)
    return ranks[0]


@pytest.mark.slow
@pytest.mark.parametrize(("precision", "tolerance"), [("fp32", 1e-5), ("fp64", 1e-10)])
def test_one_two_and_four_workers_agree(precision: str, tolerance: float) -> None:
    """131 samples in batches of 65 leave a tail of one sample: three of four workers have none."""
    one, two, four = (trajectory(size, precision) for size in (1, 2, 4))
    np.testing.assert_allclose(two, one, atol=tolerance, rtol=tolerance)
    np.testing.assert_allclose(four, one, atol=tolerance, rtol=tolerance)


@pytest.mark.slow
def test_workers_with_fused_layers_agree_with_one_without() -> None:
    np.testing.assert_allclose(trajectory(2, "fp32", fused_member), trajectory(1, "fp32"), atol=1e-5, rtol=1e-5)
