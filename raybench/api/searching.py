"""``raybench.tune``: a search over keys of a configuration, paths or frames in."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import pandas as pd

from raybench.api.placing import Place, Placement, default_out
from raybench.api.run import Run
from raybench.api.speaking import in_arguments, shown, speaks_of_arguments
from raybench.config.load import Source, load_config
from raybench.progress import Progress, warn
from raybench.reports.cards import ResultCard
from raybench.storage.places import Kind, refuse_others

if TYPE_CHECKING:  # it loads torch
    from raybench.search.folder import SearchResult


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class Search(ResultCard):
    """A finished search: ``trials``, a row for each, best first; ``best``, the run that won; ``test``, its metrics."""

    uri: str
    trials: pd.DataFrame
    best: Run
    values: Mapping[str, Any]
    test: Mapping[str, Any]
    report: str
    result: SearchResult

    @classmethod
    def of(cls, result: SearchResult) -> Search:
        """A search as the job leaves it."""
        return cls(
            uri=result.uri,
            trials=result.trials,
            best=Run.of(result.best),
            values=result.best_trial.values,
            test=result.test,
            report=result.report,
            result=result,
        )

    def card(self) -> tuple[str, Mapping[str, Any]]:
        """The winner, for a prompt or a notebook."""
        return self.result.card()


@speaks_of_arguments
def tune(
    config: Source,
    *,
    out: Place | None = None,
    bars: Place | Any = None,
    features: Place | Any = None,
    resume: bool = False,
    progress: bool | Progress = False,
    **changes: Any,
) -> Search:
    """Search over keys of ``config`` as its part ``tune`` says, and return what came of it.

    ``changes``, ``bars``, ``features`` and ``out`` are those of ``raybench.train``; the best trial is the run
    ``OUT/best``. A finished search is returned as it is, and one that was begun goes on with ``resume``.
    """
    from raybench.cluster.jobs import tuning as work

    given = {key: "given" for key, value in (("data.bars", bars), ("data.features", features)) if value is not None}
    first = load_config(config, {**changes, **given})
    to = os.fspath(out) if out is not None else default_out(f"search-{first.model.type}")
    refuse_others(to, Kind.SEARCH, option="--out", files=True)  # before frames are kept
    with Placement(beside=to) as placed:
        put = {"data.bars": placed.bars(bars, first.data.universe), "data.features": placed.features(features)}
        put = {key: place for key, place in put.items() if place is not None}
        told: list[str] = []
        wanted = load_config(config, {**changes, **put})
        found = work.search(wanted, out=to, resume=resume, progress=shown(progress), warn=told.append)
        lines = dict.fromkeys([*told, *found.warnings, *placed.warnings])
        warn(in_arguments(line, tune) for line in lines)
        return Search.of(found)
