"""One process of a training group that steps every network; in a module of its own, which a spawned one can import."""

from __future__ import annotations

import torch
from safetensors.torch import save_file
from torch.nn.parallel import DistributedDataParallel

from raybench.training.loop import pretraining_of
from tests.models.contract import TRAINED, batch_of, loss_of, network_of
from tests.process_group import joined, leave


def member(rank: int, folder: str) -> None:
    """Take two steps with each network as one of two gloo processes, on samples of its own, and save the weights."""
    joined(rank, 2, f"{folder}/rendezvous")
    weights = {}
    for kind in TRAINED:
        network = network_of(kind)
        for phase in [*pretraining_of(network), network]:
            wrapped = DistributedDataParallel(phase)
            optimizer = torch.optim.SGD(phase.parameters(), lr=1e-3)
            for step in range(2):
                optimizer.zero_grad()
                loss_of(phase, batch_of(network, seed=10 * step + rank), wrapped).backward()
                optimizer.step()
        weights |= {f"{kind}:{name}": value.detach().clone() for name, value in network.named_parameters()}
    save_file(weights, f"{folder}/{rank}.safetensors")
    leave()
