"""What the GNU C library's allocator keeps of freed memory, set for what a process does next.

Elsewhere than on that library nothing happens.
"""

from __future__ import annotations

import ctypes
import gc
from typing import Any

import pyarrow as pa

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # names of <malloc.h>
_LARGEST_MMAP_THRESHOLD = 32 * 2**20  # more is refused


def give_back_memory() -> None:
    """Return to the system what was freed: before other pieces are needed, or a wait of perhaps hours."""
    gc.collect()
    pa.default_memory_pool().release_unused()
    trim = _libc("malloc_trim")
    if trim is not None:
        trim(0)


def return_memory() -> None:
    """Return what is freed to the system at once, if it is of a MiB or more: for work in few large pieces.

    Otherwise the library learns from large pieces to keep even larger ones, and holes between those in use are memory
    that nobody has. Holds until ``keep_memory``.
    """
    mallopt = _libc("mallopt")
    if mallopt is not None:
        mallopt(_MMAP_THRESHOLD, 2**20)


def keep_memory() -> None:
    """Keep what is freed for the next step: each frees and needs the same hundreds of MB once more.

    Otherwise the kernel takes the pages back and clears new ones at every step. On a machine whose cores are all
    training that was a tenth of their time. What is larger than 32 MiB in one piece is given back all the same.
    """
    mallopt = _libc("mallopt")
    if mallopt is not None:
        mallopt(_MMAP_THRESHOLD, _LARGEST_MMAP_THRESHOLD)
        mallopt(_TRIM_THRESHOLD, 2**30)


def _libc(name: str) -> Any:
    return getattr(ctypes.CDLL(None), name, None)
