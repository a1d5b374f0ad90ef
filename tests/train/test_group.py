"""Any number of gloo workers walks through the same training."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from raybench.train.loop import fit
from raybench.train.world import ProcessGroup
from tests.train.learnable import CPU, feeds, network, options, segment


def _member(rank: int, size: int, rendezvous: str, precision: str, out: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{rendezvous}", rank=rank, world_size=size)
    wanted = options(precision=precision, batch_size=65)
    world = ProcessGroup(CPU)
    # 195 training samples or so: the last batch is smaller than the group for some sizes
    train, valid = segment(seed=0), segment(seed=1)
    train = type(train)(source=train.source, samples=train.samples.take(slice(0, 131)))
    state = fit(network(precision), feeds(train, valid, wanted, world), wanted, world=world)
    rows = [(r.train_loss, r.valid_loss, r.valid_ic, r.valid_rank_ic, r.grad_norm) for r in state.history]
    np.save(f"{out}/{rank}.npy", np.array(rows))
    dist.destroy_process_group()


def trajectory(size: int, precision: str) -> np.ndarray:
    """Train with ``size`` processes; all of them must report the same."""
    with tempfile.TemporaryDirectory() as folder:
        mp.spawn(_member, (size, f"{folder}/rendezvous", precision, folder), nprocs=size)
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
