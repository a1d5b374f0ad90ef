"""A training step in bare processes, one or two with a thread each: what of a speed-up the machine itself allows.

No Ray and no raybench loop: two layers of GRU on windows in memory, gradients exchanged by one all-reduce of gloo, or
not at all.
"""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from pathlib import Path

import torch
from torch import Tensor, distributed, multiprocessing, nn

from raybench.allocator import keep_memory
from raybench.models.fused.choice import fused_layers
from raybench.models.layers.recurrence import run

BATCH, WARM, STEPS = 800, 20, 200


def bare_steps() -> dict[str, float]:
    """Milliseconds of a step of 800 windows: in one process, in two, and in two that exchange nothing."""
    return {
        "bare_1_x_1_ms": _measured(1, exchange=False),
        "bare_2_x_1_ms": _measured(2, exchange=True),
        "bare_2_x_1_without_exchange_ms": _measured(2, exchange=False),
    }


def _measured(processes: int, *, exchange: bool) -> float:
    with tempfile.TemporaryDirectory() as folder:
        multiprocessing.spawn(_train, (processes, exchange, folder), nprocs=processes)
        return float(Path(folder, "ms").read_text())


def _train(rank: int, processes: int, exchange: bool, folder: str) -> None:
    torch.set_num_threads(1)
    torch.manual_seed(rank)
    keep_memory()
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    distributed.init_process_group("gloo", init_method=f"file://{folder}/met", rank=rank, world_size=processes)
    layers, head = nn.GRU(20, 64, 2, batch_first=True), nn.Linear(64, 1)
    parameters = [*layers.parameters(), *head.parameters()]
    optimizer = torch.optim.Adam(parameters, lr=1e-3)
    x_BWF, label_B = torch.randn(BATCH // processes, 20, 20), torch.randn(BATCH // processes)
    taken = []
    with fused_layers():
        distributed.barrier()
        for _ in range(WARM + STEPS):
            began = time.perf_counter()
            optimizer.zero_grad()
            nn.functional.mse_loss(head(run(layers, x_BWF)[0][:, -1])[:, 0], label_B).backward()
            if exchange:
                _exchange(parameters, processes)
            nn.utils.clip_grad_value_(parameters, 3.0)
            optimizer.step()
            taken.append(time.perf_counter() - began)
        distributed.barrier()
    if rank == 0:
        Path(folder, "ms").write_text(str(statistics.median(taken[WARM:]) * 1e3))
    distributed.destroy_process_group()


def _exchange(parameters: list[nn.Parameter], processes: int) -> None:
    grads: list[Tensor] = [each.grad for each in parameters if each.grad is not None]
    flat = torch.cat([grad.reshape(-1) for grad in grads])
    distributed.all_reduce(flat)
    for grad, mean in zip(grads, (flat / processes).split([grad.numel() for grad in grads]), strict=True):
        grad.copy_(mean.view_as(grad))
