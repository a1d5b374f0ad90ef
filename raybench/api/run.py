"""A finished run as Python has it: what it is, and what can be done with it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from raybench.api.placing import Place
from raybench.api.speaking import speaks_of_arguments
from raybench.columns.moments import Moment
from raybench.progress import Progress
from raybench.reports.cards import ResultCard
from raybench.runs import artifact


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class Run(ResultCard, artifact.StoredRun):
    """A run that ``train`` made or ``load_run`` opened; ``metrics`` are those of validation."""

    def score(
        self,
        bars: Place | Any = None,
        *,
        features: Place | Any = None,
        to: Place | None = None,
        start: Moment | None = None,
        end: Moment | None = None,
        since_last: bool = False,
        stale: bool = False,
        min_coverage: float = 0.5,
        overwrite: bool = False,
        concepts: Place | None = None,
        second: Place | None = None,
        local: bool | None = None,
        trust: bool = False,
        progress: bool | Progress = False,
    ) -> Any:
        """Score bars (a frame, or a dataset) with it; see ``raybench.score``."""
        from raybench.api.tables import score

        options = {name: value for name, value in locals().items() if name not in ("self", "bars", "score")}
        return score(self, bars, **options)

    def explain(
        self,
        date: Moment,
        bars: Place | Any = None,
        *,
        features: Place | Any = None,
        out: Place | None = None,
        start: Moment | None = None,
        end: Moment | None = None,
        instruments: Sequence[str] = (),
        repeats: int = 5,
        seed: int = 0,
        concepts: Place | None = None,
        second: Place | None = None,
        local: bool = True,
        trust: bool = False,
        progress: bool | Progress = False,
    ) -> Any:
        """Explain what it does on a date; see ``raybench.explain``."""
        from raybench.api.looking import explain

        options = {n: value for n, value in locals().items() if n not in ("self", "bars", "date", "explain")}
        return explain(self, bars, date, **options)

    def told(self, lines: Sequence[str]) -> Run:
        """The same run, among whose ``warnings`` these lines are too."""
        return dataclasses.replace(self, manifest={**self.manifest, "warnings": [*lines, *self.warnings]})

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
    def of(cls, run: artifact.StoredRun) -> Run:
        """The same run with these methods."""
        return cls(**{field.name: getattr(run, field.name) for field in dataclasses.fields(run)})


@speaks_of_arguments
def load_run(uri: Any, *, trust: bool = False) -> Run:
    """Open a finished run directory; ``trust`` lets it import a network of its own."""
    return Run.of(artifact.load_run(str(getattr(uri, "uri", uri)), trust=trust))
