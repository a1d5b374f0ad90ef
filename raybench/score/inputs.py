"""What is scored: runs, and the bars or the feature table they read, opened and checked against each other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from raybench.data import storage
from raybench.data.bars import Bars, open_bars
from raybench.data.feature_table import FeatureTable, open_features
from raybench.data.frame import Run as Mapper
from raybench.data.panel import Panel
from raybench.data.panel.build import scoring_panel
from raybench.data.reading import knows_label
from raybench.data.universe import ALL
from raybench.errors import DataError
from raybench.progress import Progress
from raybench.score.planning import Dates
from raybench.train.artifact import Run, load_run
from raybench.train.folders import run_folders


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoringSource:
    """What is scored: bars, a feature table, or features from a table with the universe from bars."""

    bars: Bars | None
    features: FeatureTable | None

    @classmethod
    def open(cls, bars: str | None, features: str | None) -> ScoringSource:
        """Open what is given."""
        if bars is None and features is None:
            raise DataError("nothing to score from; give --bars BARS or --features FEATURES")
        return cls(
            bars=None if bars is None else open_bars(bars),
            features=None if features is None else open_features(features),
        )

    @property
    def calendar(self) -> np.ndarray:
        """Every datetime there is."""
        if self.bars is not None:
            return self.bars.calendar
        assert self.features is not None
        return self.features.dates()


def open_runs(
    models: str | Sequence[str], *, concepts: str | None = None, second: str | None = None, trust: bool = False
) -> list[Run]:
    """Open runs, those of a folder of seeds one by one; ``concepts`` and ``second`` replace what they name."""
    uris = [models] if isinstance(models, str) else models
    runs = [load_run(folder, trust=trust) for uri in uris for folder in run_folders(uri)]
    if concepts is not None:
        runs = [with_concepts(run, concepts) for run in runs]
    if second is not None:
        runs = [with_second(run, second) for run in runs]
    return runs


def with_concepts(run: Run, concepts: str) -> Run:
    """Return a run that is scored with another concept table; DataError if its network has no use for one."""
    data = run.config.data
    if data.concepts is None:
        raise DataError(f"--concepts {concepts}: {run.uri} was trained without concepts; leave --concepts out")
    changed = data.model_copy(update={"concepts": storage.open_location(concepts).uri})
    return replace(run, config=run.config.model_copy(update={"data": changed}))


def with_second(run: Run, bars: str) -> Run:
    """Return a run whose second window is read from other bars; DataError if it has none."""
    data = run.config.data
    if data.second is None:
        raise DataError(f"--second {bars}: {run.uri} was trained on one window; leave --second out")
    second = data.second.model_copy(update={"bars": storage.open_location(bars).uri})
    changed = data.model_copy(update={"second": second})
    return replace(run, config=run.config.model_copy(update={"data": changed}))


def checked_universe(runs: Sequence[Run], inputs: ScoringSource) -> str:
    """Name the universe that all runs score; DataError if they differ or the inputs lack what they need."""
    names = list(dict.fromkeys(run.config.data.universe for run in runs))
    if len(names) > 1:
        raise DataError(f"the runs score different universes ({', '.join(names)}); combine runs of one universe")
    for run in runs:
        if inputs.features is None and run.config.data.feature_set.type == "table":
            raise DataError(
                f"{run.uri} was trained on the columns of a feature table, which bars do not have; "
                "give --features FEATURES"
            )
    if inputs.bars is None and names[0] != ALL:
        raise DataError(
            f"the run scores universe {names[0]}, which bars define and a feature table does not; "
            "give --bars BARS beside --features"
        )
    if inputs.bars is not None:
        inputs.bars.universe(names[0])  # raises if the bars lack it
    return names[0]


def panels_of(
    runs: Sequence[Run], inputs: ScoringSource, days: Dates, mapper: Mapper, progress: Progress
) -> Iterator[Panel]:
    """Build the panel of each run over the days to be scored."""
    for run in runs:
        yield scoring_panel(
            run.config,
            inputs.bars,
            inputs.features,
            run.processors,
            days[0],
            days[-1],
            second_processors=run.second_processors,
            run=mapper,
            progress=progress,
        )


def forgetful(runs: Sequence[Run], inputs: ScoringSource) -> tuple[str, ...]:
    """Name the runs that would remember losses of recent dates, had these labels."""
    found = []
    for run in runs:
        if run.config.model.remembers and not knows_label(run.config, inputs.features):
            known = f"up to {run.memory.last.astype('datetime64[D]')} only" if run.memory is not None else "of no date"
            found.append(
                f"{run.uri} knows its past losses {known}: what is scored has no labels as it learned from; "
                "give bars, or a feature table with them"
            )
    return tuple(found)


def device_of(runs: Sequence[Run], *, gpus: float) -> str:
    """Score on GPUs where there are any and no run says that it does without."""
    return "cuda" if gpus >= 1 and all(run.config.cluster.use_gpu is not False for run in runs) else "cpu"
