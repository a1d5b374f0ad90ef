"""The runs of several seeds as Python has them: one folder, scored as the mean of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

import pandas as pd

from raybench.api.run import Run
from raybench.reports.cards import ResultCard
from raybench.runs import artifact
from raybench.runs.folders import finished_seeds
from raybench.runs.seeds import seeds_table


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class Runs(ResultCard):
    """What ``train`` made with ``seeds``: all finished runs of the folder ``uri``, by seed.

    ``table`` has a row for each, as ``seeds.parquet`` stores it (``runs.seeds``).
    """

    uri: str
    runs: tuple[Run, ...]
    table: pd.DataFrame

    @classmethod
    def of(cls, uri: str) -> Runs:
        """Those in the folder, whose code the caller trusts."""
        runs = tuple(Run.of(artifact.load_run(folder, trust=True)) for folder in finished_seeds(uri))
        return cls(uri=uri, runs=runs, table=seeds_table(runs))

    def __len__(self) -> int:
        return len(self.runs)

    def __iter__(self) -> Iterator[Run]:
        return iter(self.runs)

    def __getitem__(self, i: int) -> Run:
        return self.runs[i]

    @property
    def warnings(self) -> tuple[str, ...]:
        """What is odd about the data that they learned from, a line each."""
        return tuple(dict.fromkeys(line for run in self.runs for line in run.warnings))

    def score(self, bars: Any = None, **options: Any) -> Any:
        """Score bars (a frame, or a dataset) with their mean; see ``raybench.score``."""
        from raybench.api.tables import score

        return score(self, bars, **options)

    def card(self) -> tuple[str, Mapping[str, Any]]:
        """What they are, for a prompt or a notebook."""
        measured = {
            f"valid {name}": f"{self.table[column].mean():.4f} (from seed to seed {self.table[column].std(ddof=1):.4f})"
            for name, column in (("Rank IC", "valid_rank_ic"), ("loss", "valid_loss"))
            if len(self.runs) > 1 and self.table[column].notna().any()
        }
        seeds = ", ".join(str(seed) for seed in self.table["seed"][:10]) + (", ..." if len(self.runs) > 10 else "")
        return f"{len(self.runs)} runs {self.uri}", {
            "network": self.runs[0].config.model.type,
            "seeds": seeds,
            **measured,
        }
