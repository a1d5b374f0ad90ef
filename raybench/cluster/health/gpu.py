"""GPUs: whether torch sees them, computes on them as on the CPU, and whether they talk to each other by NCCL."""

from __future__ import annotations

import os
import shutil
import tempfile
from typing import Any

import torch
from torch.multiprocessing.spawn import spawn

from raybench.cluster.health.outcome import Outcome, well, wrong
from raybench.errors import in_one_line

GB = 1e9
SIZE = 512  # rows of the matrices that are multiplied
CLOSE = 1e-2  # TF32 has ten bits
NCCL_SECONDS = 20.0


def gpus() -> Outcome:
    """Look at every GPU, multiply matrices on it, and let all of them add up a number."""
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if not count:
        return _without()
    cards = [_card(index) for index in range(count)]
    figures: dict[str, Any] = {"gpus": cards, "torch": torch.__version__, "cuda": torch.version.cuda}
    for index in range(count):
        if problem := _computes(index):
            advice = "update the driver, or install the torch that belongs to it"
            return wrong("gpu", f"{cards[index]}: {problem}", advice, **figures)
    if problem := _nccl(count):
        advice = "look at NCCL_DEBUG=INFO of a training, and at NCCL_P2P_DISABLE=1 and NCCL_SOCKET_IFNAME"
        return wrong("gpu", f"NCCL: {problem}", advice, **figures)
    said = f"{', '.join(cards)}; CUDA {torch.version.cuda}, NCCL {_nccl_version()}"
    return well("gpu", f"{said} adds up over {count}", **figures)


def _without() -> Outcome:
    """No GPU is no fault, unless there is one that torch does not see."""
    hidden = os.environ.get("CUDA_VISIBLE_DEVICES")
    if hidden is not None and hidden.strip() in ("", "-1"):
        return well("gpu", "hidden by CUDA_VISIBLE_DEVICES: trainings use the CPU", gpus=[])
    if os.path.exists("/dev/nvidia0") or shutil.which("nvidia-smi"):
        built = f"is built for CUDA {torch.version.cuda}" if torch.version.cuda else "is built for the CPU alone"
        advice = "install the torch of pytorch.org that belongs to the driver (nvidia-smi names its CUDA)"
        return wrong("gpu", f"there is an NVIDIA driver, but torch {torch.__version__} {built} and sees none", advice)
    return well("gpu", "none: trainings use the CPU", gpus=[])


def _card(index: int) -> str:
    known = torch.cuda.get_device_properties(index)
    return f"{known.name} ({known.total_memory / GB:.0f} GB)"


def _computes(index: int) -> str:
    """Say what is wrong with the GPU; empty if it multiplies as the CPU does."""
    generator = torch.Generator().manual_seed(0)
    left, right = (torch.randn(SIZE, SIZE, generator=generator) for _ in range(2))
    try:
        there = (left.to(f"cuda:{index}") @ right.to(f"cuda:{index}")).cpu()
    except RuntimeError as error:
        return in_one_line(error)
    apart = float((there - left @ right).abs().max() / (left @ right).abs().max())
    return "" if apart < CLOSE else f"a product of matrices differs from the CPU's by {apart:.2g} of its largest value"


def _nccl(count: int) -> str:
    """Say what is wrong with NCCL; empty if all GPUs added up their numbers."""
    if not torch.distributed.is_available() or not torch.distributed.is_nccl_available():
        return "torch is built without it: one GPU at most trains"
    with tempfile.TemporaryDirectory(prefix="raybench-") as room:
        meeting = os.path.join(room, "meeting")
        try:
            if count == 1:
                add_up(0, count, meeting)
            else:
                spawn(add_up, args=(count, meeting), nprocs=count)
        except Exception as error:  # of a child, its traceback as text
            return in_one_line(error)
    return ""


def add_up(rank: int, count: int, meeting: str) -> None:
    """Add up 1, 2, 3 ... over all GPUs, as one of their processes."""
    from datetime import timedelta

    device = torch.device("cuda", rank)
    torch.cuda.set_device(device)
    torch.distributed.init_process_group(
        "nccl",
        init_method=f"file://{meeting}",
        rank=rank,
        world_size=count,
        timeout=timedelta(seconds=NCCL_SECONDS),
        device_id=device,
    )
    try:
        value = torch.full((1,), rank + 1.0, device=device)
        torch.distributed.all_reduce(value)
        if float(value) != count * (count + 1) / 2:
            raise RuntimeError(f"the sum over {count} GPUs is {float(value):g}")
    finally:
        torch.distributed.destroy_process_group()


def _nccl_version() -> str:
    found = torch.cuda.nccl.version()
    return ".".join(map(str, found)) if isinstance(found, tuple) else str(found)
