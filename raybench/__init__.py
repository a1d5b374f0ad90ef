"""raybench: Qlib's recurrent stock models, trained on a Ray cluster, and a score for every instrument on every date."""

from __future__ import annotations

__version__ = "0.1.0"
