"""Gathered runs on their test dates: judged one by one, brought to the dates that all have, and tested in pairs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from raybench.comparison.gathering import Gathered
from raybench.comparison.on_test import OpenTest, TestResult, open_test
from raybench.comparison.results import DAILY, daily_frame, results_frame, row_of
from raybench.config import Config
from raybench.config.identity import data_places
from raybench.errors import UserError
from raybench.metrics import signal
from raybench.progress import SILENT, Progress
from raybench.runs.artifact import StoredRun
from raybench.scoring.inputs import ScoringSource
from raybench.training.needs import Needs


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """What the test dates brought.

    results, daily : the frames of :mod:`raybench.comparison.results`; a run that could not be tested has no figures
    partial : configurations whose figures are of some of their test dates only
    tested : fits that were. common : dates that all of these have; where there are any, the figures are of them alone
    warnings : what a reader of the figures should know
    """

    results: pd.DataFrame
    daily: pd.DataFrame
    tested: int
    common: int
    partial: frozenset[str] = frozenset()
    warnings: tuple[str, ...] = ()


def judge_all(gathered: Gathered, progress: Progress = SILENT) -> Judged:
    """Score each run on its test segment from where its data lie, and judge it by its own label."""
    rows: list[dict[str, Any]] = []
    parts: list[pd.DataFrame] = []
    warnings: list[str] = []
    bench = _Bench(progress)
    with progress.track("compare", len(gathered.fits)) as advance:
        for fit in gathered.fits:
            found = None
            try:
                found = bench.judge(fit.run)
                warnings += [f"{fit.name}: {line}" for line in found.warnings]
            except UserError as error:
                warnings.append(f"{fit.name}: {fit.run.uri} is not tested ({error})")
            evaluation = None if found is None else found.evaluation
            rows.append(row_of(fit.name, fit.run, evaluation, folder=fit.run.uri, roll=fit.roll))
            if evaluation is not None:
                parts.append(daily_frame(fit.name, fit.run.config.train.seed, fit.roll, evaluation))
            advance(text=fit.name)
    results = results_frame([*rows, *gathered.failed])
    daily = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame({key: [] for key in DAILY})
    common = _common_dates(daily)
    partial: frozenset[str] = frozenset()
    if len(common):
        partial = frozenset(map(str, daily.loc[~daily["datetime"].isin(common), "name"]))
        results, daily = _on_dates(results, daily, common)
    elif len(parts) > 1:
        warnings.append(
            "no test date is common to all: each has figures of its own dates, and nothing is tested in pairs"
        )
    configs = {name: gathered.of(name)[0].run.config for name in gathered.names}
    return Judged(
        results=results,
        daily=daily,
        tested=len(parts),
        common=len(common),
        partial=partial,
        warnings=(*differences(configs), *dict.fromkeys(warnings)),
    )


class _Bench:
    """Holds the panel that was read last: seeds of a configuration, which come one after another, share it."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._key: tuple[Any, ...] | None = None
        self._held: OpenTest | None = None

    def judge(self, run: StoredRun) -> TestResult:
        """As ``on_test``."""
        key = _panel_key(run)
        if self._held is None or key != self._key:
            self._held = None  # one at a time
            source = ScoringSource.open(run.config.data.bars, run.config.data.features)
            self._held, self._key = open_test(run, source, progress=self._progress), key
        return self._held.judge(run)


def _panel_key(run: StoredRun) -> tuple[Any, ...]:
    """What two runs share whose scores come from the same rows."""
    config = run.config
    second = run.second_processors
    return (
        config.data.model_dump_json(),
        config.recipe,
        config.model.remembers,
        run.processors.to_json(),
        None if second is None else second.to_json(),
        str(Needs.of_manifest(run.manifest, where=run.uri)),
    )


def _common_dates(daily: pd.DataFrame) -> pd.DatetimeIndex:
    """Dates that each configuration has of each of its seeds; rolls follow one another."""
    dates = [set(group["datetime"]) for _, group in daily.groupby(["name", "seed"])]
    return pd.DatetimeIndex(sorted(set.intersection(*dates))) if dates else pd.DatetimeIndex([])


def _on_dates(results: pd.DataFrame, daily: pd.DataFrame, dates: pd.DatetimeIndex) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The frames with the figures of some dates alone; a row that has no others stays as it is, to the last bit."""
    kept = daily[daily["datetime"].isin(dates)].reset_index(drop=True)
    if len(kept) == len(daily):
        return results, daily
    changed = results.copy()
    for place in changed.index[changed["error"].isna()]:
        row = changed.loc[place]
        mine, all_mine = (_rows_of(frame, row) for frame in (kept, daily))
        if len(mine) == len(all_mine):
            continue
        for name, column in (("IC", "ic"), ("Rank IC", "rank_ic")):
            changed.loc[place, name] = mine[column].mean()
            changed.loc[place, f"{name}IR"] = signal.ratio(mine[column].to_numpy())
    return changed, kept


def _rows_of(daily: pd.DataFrame, row: pd.Series[Any]) -> pd.DataFrame:
    chosen = (daily["name"] == row["name"]) & (daily["seed"] == row["seed"])
    found: pd.DataFrame = daily[
        chosen & (daily["roll"].isna() if row["roll"] is None else daily["roll"] == row["roll"])
    ]
    return found


def daily_by_name(daily: pd.DataFrame) -> pd.DataFrame:
    """The Rank IC of each date (rows), mean over the seeds of each configuration (columns)."""
    return daily.groupby(["datetime", "name"])["rank_ic"].mean().unstack("name")


def differences(configs: Mapping[str, Config], *, tests: bool = False) -> list[str]:
    """What keeps figures of configurations, by name, from being of the same thing: label, universe, data.

    ``tests``: the test dates, too, where each has figures of all of its own.
    """
    asked: Sequence[tuple[str, Callable[[Config], str]]] = (
        ("labels", lambda config: config.data.label),
        ("universes", lambda config: config.data.universe),
        ("data", _data_of),
        ("test dates", lambda config: " to ".join(map(str, config.data.segments.test))),
    )
    told = []
    for what, of in asked[: 4 if tests else 3]:
        first = {of(configs[name]): name for name in reversed(list(configs))}
        if len(first) > 1:
            shown = "; ".join(f"{name} has {value}" for value, name in reversed(first.items()))
            told.append(f"the {what} differ, so the figures are not of the same thing: {shown}")
    return told


def _data_of(config: Config) -> str:
    places = data_places(config)
    return places.get("data.features") or places["data.bars"]
