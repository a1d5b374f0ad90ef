"""The panel: what a training or scoring run needs, as a few arrays shared once per node.

Workers read panels; only who makes one imports :mod:`raybench.panel.build`, and numba with it.
"""

from __future__ import annotations

from raybench.panel.packing import pack, unpack
from raybench.panel.types import Panel, Samples, Segment

__all__ = [
    "Panel",
    "Samples",
    "Segment",
    "build",
    "filled",
    "pack",
    "presence",
    "reading",
    "reads",
    "rehashing",
    "row_hashes",
    "size",
    "streaming",
    "unpack",
]
