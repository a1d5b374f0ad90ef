"""What is scored: runs, and the bars or the feature table they read, opened and checked against each other."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from raybench.config.panel_spec import PanelSpec
from raybench.errors import DataError
from raybench.fanout import Fanout
from raybench.feature_sets.table import FeatureTable, open_features
from raybench.market.bars import Bars, open_bars
from raybench.market.universe import ALL
from raybench.panel import Panel
from raybench.panel.build import scoring_panel
from raybench.panel.reading import knows_label
from raybench.progress import Progress
from raybench.runs.artifact import StoredRun, UnfinishedRunError, check_different, load_run
from raybench.runs.folders import folders_below
from raybench.scoring.planning import Dates
from raybench.storage import files
from raybench.training.needs import rows_needed


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
            features=None if features is None else open_features(features).settled(),
        )

    @property
    def calendar(self) -> np.ndarray:
        """Every datetime there is."""
        if self.bars is not None:
            return self.bars.calendar
        assert self.features is not None
        return self.features.dates()


def seen(runs: Sequence[StoredRun], inputs: ScoringSource, day: np.datetime64) -> str:
    """A hash of what there is to score a day from, by the names of files, which tell contents: nothing is read."""
    names = []
    for run in runs:
        second = run.config.data.second
        names += [] if second is None else [open_bars(second.bars).fingerprint]
    if inputs.features is not None:
        names.append(inputs.features.fingerprint)
    elif inputs.bars is not None:
        rows = max(rows_needed(PanelSpec.of(run.config), run.processors.columns, from_table=False) for run in runs)
        calendar = inputs.bars.calendar
        first = calendar[max(int(np.searchsorted(calendar, day.astype("datetime64[us]"))) - rows, 0)]
        names += [
            file.name
            for file in inputs.bars.files
            if np.datetime64(file.last) >= first and np.datetime64(file.first) < (day + 1).astype("datetime64[us]")
        ]
    if inputs.bars is not None:
        universes = {run.config.data.universe for run in runs} - {ALL}
        names += [inputs.bars.metadata.universes[name] for name in sorted(universes)]
    return hashlib.sha256("\n".join(names).encode()).hexdigest()[:16]


def open_runs(
    models: str | Sequence[str], *, concepts: str | None = None, second: str | None = None, trust: bool = False
) -> list[StoredRun]:
    """Open runs, those of a folder of seeds one by one; ``concepts`` and ``second`` replace what they name.

    RunError if one run is there twice, as a copy, too: it would count twice among those it is combined with.
    """
    uris = [models] if isinstance(models, str) else models
    runs = [run for uri in uris for run in _runs_at(uri, trust=trust)]
    check_different(runs)
    if concepts is not None:
        runs = [with_concepts(run, concepts) for run in runs]
    if second is not None:
        runs = [with_second(run, second) for run in runs]
    return runs


def _runs_at(uri: str, *, trust: bool) -> list[StoredRun]:
    """The run at an address, which is not asked for first, or the runs of its folders."""
    try:
        return [load_run(files.open_location(uri).uri, trust=trust, told=False)]
    except UnfinishedRunError:
        return [load_run(folder, trust=trust, told=False) for folder in folders_below(uri)]


def with_concepts(run: StoredRun, concepts: str) -> StoredRun:
    """Return a run that is scored with another concept table; DataError if its network has no use for one."""
    data = run.config.data
    if data.concepts is None:
        raise DataError(f"--concepts {concepts}: {run.uri} was trained without concepts; leave --concepts out")
    changed = data.model_copy(update={"concepts": files.open_location(concepts).uri})
    return replace(run, config=run.config.model_copy(update={"data": changed}))


def with_second(run: StoredRun, bars: str) -> StoredRun:
    """Return a run whose second window is read from other bars; DataError if it has none."""
    data = run.config.data
    if data.second is None:
        raise DataError(f"--second {bars}: {run.uri} was trained on one window; leave --second out")
    second = data.second.model_copy(update={"bars": files.open_location(bars).uri})
    changed = data.model_copy(update={"second": second})
    return replace(run, config=run.config.model_copy(update={"data": changed}))


def checked_universe(runs: Sequence[StoredRun], inputs: ScoringSource) -> str:
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
    runs: Sequence[StoredRun], inputs: ScoringSource, days: Dates, mapper: Fanout, progress: Progress
) -> Iterator[Panel]:
    """Build the panel of each run over the days to be scored; runs with the same rows are given the same one."""
    built: dict[tuple[str, ...], Panel] = {}
    for run in runs:
        key = _rows_of(run)
        if key not in built:
            built[key] = scoring_panel(
                PanelSpec.of(run.config),
                inputs.bars,
                inputs.features,
                run.processors,
                days[0],
                days[-1],
                second_processors=run.second_processors,
                remembers=run.config.model.remembers,
                labels=False,
                run=mapper,
                progress=progress,
            )
        yield built[key]


def _rows_of(run: StoredRun) -> tuple[str, ...]:
    """What decides which rows a run reads and how they look, but for the dates."""
    spec = PanelSpec.of(run.config)
    second = run.second_processors
    return (
        spec.data.model_dump_json(by_alias=True, exclude={"segments"}),
        spec.recipe,
        str(spec.sample_weight),
        run.processors.to_json(),
        "" if second is None else second.to_json(),
        str(run.config.model.remembers),
    )


def forgetful(runs: Sequence[StoredRun], inputs: ScoringSource) -> tuple[str, ...]:
    """Name the runs that would remember losses of recent dates, had these labels."""
    found = []
    for run in runs:
        if run.config.model.remembers and not knows_label(PanelSpec.of(run.config), inputs.features):
            known = f"up to {run.memory.last.astype('datetime64[D]')} only" if run.memory is not None else "of no date"
            found.append(
                f"{run.uri} knows its past losses {known}: what is scored has no labels as it learned from; "
                "give bars, or a feature table with them"
            )
    return tuple(found)


def device_of(runs: Sequence[StoredRun], *, gpus: float) -> str:
    """Score on GPUs where there are any and no run says that it does without."""
    return "cuda" if gpus >= 1 and all(run.config.cluster.use_gpu is not False for run in runs) else "cpu"
