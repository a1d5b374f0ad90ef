"""Joining and leaving a gloo group in a spawned process; in a module that such a process can import."""

from __future__ import annotations

import os

import torch
import torch.distributed as dist

from raybench.feeds.world import ProcessGroup


def joined(rank: int, size: int, rendezvous: str) -> ProcessGroup:
    """Join the group that meets at the file ``rendezvous``, with one thread."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{rendezvous}", rank=rank, world_size=size)
    return ProcessGroup(torch.device("cpu"))


def leave() -> None:
    """Leave the group and end the process, with nothing run at its exit.

    gloo's thread frees the tensors of the last exchange when it comes to it. If that is while Python shuts down, the
    thread is ended where it asks for the interpreter, and that aborts the process (torch 2.13).
    """
    dist.barrier()  # nobody goes while another still reads
    dist.destroy_process_group()
    os._exit(0)
