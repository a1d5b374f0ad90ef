"""Whether the workers of a training fit this machine, told before Ray is started on it."""

from __future__ import annotations

import ray
import torch

from raybench.cluster.address import LOCAL, cluster_address
from raybench.cluster.resources import plan_training, this_machine
from raybench.config import Config
from raybench.progress import SILENT, Progress


def check_workers(config: Config, *, dates: bool, progress: Progress = SILENT) -> None:
    """Refuse more workers than this machine has room for, where Ray is yet to be started on it alone."""
    if ray.is_initialized() or cluster_address(progress=progress) != LOCAL:
        return  # what the cluster has is asked when it is joined
    there = this_machine(gpus=torch.cuda.device_count())
    plan_training(config, there, streaming=config.data.residency == "streaming", dates=dates)
