"""How large the blocks are that products are computed in, on the processor that kernels are compiled for."""

from __future__ import annotations

import os

from llvmlite import binding

CPU_NAME, CPU_FEATURES = os.environ.get("NUMBA_CPU_NAME"), os.environ.get("NUMBA_CPU_FEATURES")
"""The processor that numba was told to compile for, in place of this one."""


def _has_avx512() -> bool:
    if CPU_NAME is not None or CPU_FEATURES is not None:
        return "+avx512f" in (CPU_FEATURES or "")
    return bool(binding.get_host_cpu_features().get("avx512f", False))


LANES = 16 if _has_avx512() else 8
"""float32 in one vector; what a row of B and C is padded to."""
ROWS = 8 if LANES == 16 else 4
"""Rows of one block of C; what its rows are padded to. Divides ``LANES``."""
VECTORS = 2
"""Vectors of one row of a block."""
