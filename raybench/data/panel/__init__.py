"""The panel: what a training or scoring run needs, as a few arrays shared once per node.

Workers read panels; only who makes one imports :mod:`raybench.data.panel.build`, and numba with it.
"""

from __future__ import annotations

from raybench.data.panel.packing import pack, unpack
from raybench.data.panel.types import Panel, Samples, Segment

__all__ = ["Panel", "Samples", "Segment", "pack", "unpack"]
