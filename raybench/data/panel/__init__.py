"""The panel: what a training or scoring run needs, as a few arrays shared once per node."""

from __future__ import annotations

from raybench.data.panel.build import build_panel, scoring_panel
from raybench.data.panel.packing import pack, unpack
from raybench.data.panel.types import Panel, Samples, Segment

__all__ = ["Panel", "Samples", "Segment", "build_panel", "pack", "scoring_panel", "unpack"]
