"""A finished run as Python has it: what it is, and what can be done with it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from raybench.api.speaking import speaks_of_arguments
from raybench.page.cards import Card
from raybench.train import artifact


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class Run(Card, artifact.Run):
    """A run that ``train`` made or ``load_run`` opened; ``metrics`` are those of validation."""

    def score(self, bars: Any = None, **options: Any) -> Any:
        """Score bars (a frame, or a dataset) with it; see ``raybench.score``."""
        from raybench.api.verbs import score

        return score(self, bars=bars, **options)

    def explain(self, date: Any, bars: Any = None, **options: Any) -> Any:
        """Explain what it does on a date; see ``raybench.explain``."""
        from raybench.api.verbs import explain

        return explain(self, date=date, bars=bars, **options)

    def card(self) -> tuple[str, Mapping[str, Any]]:
        """What it is, for a prompt or a notebook."""
        data, metrics = self.config.data, self.metrics
        width = data.num_features or len(self.features)
        return f"run {self.uri}", {
            "network": f"{self.config.model.type}, {self.manifest.get('parameters', 0):,} parameters",
            "features": f"{width} of {data.feature_set.type}, windows of {data.step_len}",
            "universe": data.universe,
            "epochs": self.manifest.get("epochs"),
            "valid Rank IC": metrics.get("valid_rank_ic"),
            "valid loss": metrics.get("valid_loss"),
            "run_id": self.run_id,
        }

    @classmethod
    def of(cls, run: artifact.Run) -> Run:
        """The same run with these methods."""
        return cls(**{field.name: getattr(run, field.name) for field in dataclasses.fields(run)})


@speaks_of_arguments
def load_run(uri: Any, *, trust: bool = False) -> Run:
    """Open a finished run directory; ``trust`` lets it import a network of its own."""
    return Run.of(artifact.load_run(str(uri), trust=trust))
