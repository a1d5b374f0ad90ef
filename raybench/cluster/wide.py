"""What Tune hears of a trial of several workers, out of what these report to Ray Train.

Ray Train's controller unpacks this, so nothing of ours is imported here: it would load all of raybench with it.
"""

from __future__ import annotations

from typing import Any

from ray.train import Checkpoint
from ray.tune.integration.ray_train import TuneReportCallback


class Passing(TuneReportCallback):
    """Passes on the epochs whose metrics have something else than 0 under a key; others a search has no use for."""

    def __init__(self, key: str) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._key = key

    def after_report(self, run_context: Any, metrics: list[dict[str, Any]], checkpoint: Checkpoint | None) -> None:
        """Hear of one epoch from every worker; the first speaks for all."""
        if metrics[0][self._key]:
            super().after_report(run_context, metrics, checkpoint)
