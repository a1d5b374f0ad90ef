"""The report of a search: one HTML page that needs no network, and the same content as JSON.

Equal content gives equal bytes: nothing here looks at the clock.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import pandas as pd

from raybench.config import Config
from raybench.config.tune import LogUniform
from raybench.reports.html import Drawing, FigureCard, Page, Table, number
from raybench.reports.html import to_html as page_html
from raybench.reports.plain import plain, records
from raybench.reports.text import to_text
from raybench.search import figures
from raybench.search.draws import short_key, told
from raybench.search.draws import shown as shown_value
from raybench.search.importance import importances
from raybench.search.ledger import DONE, FAILED, STOPPED, TrialRecord, trial_id

SCHEMA_VERSION = 1
NAMES = {"loss": "loss", "ic": "IC", "rank_ic": "Rank IC"}


@dataclass(frozen=True, kw_only=True)
class SearchReport:
    """What a report of a search shows.

    trials : the table of trials, best first
    curves : trial_id, epoch, value of the metric on the validation segment
    best : the trial that won; ``test``: the metrics of its run on the test segment, empty where there are none
    inputs : what was searched and with what, at the foot of the page
    """

    config: Config
    trials: pd.DataFrame
    records: Sequence[TrialRecord]
    curves: pd.DataFrame
    best: TrialRecord
    test: Mapping[str, Any]
    inputs: Mapping[str, str] = field(default_factory=dict)
    notes: Sequence[str] = ()

    @cached_property
    def importance(self) -> pd.Series[float]:
        """How much each key matters; fitted once, and shown in several places."""
        return importances(self.records, self.config.search_space)


def to_html(report: SearchReport) -> str:
    """The page."""
    model, data = report.config.model, report.config.data
    return page_html(
        Page(
            kind="search",
            title=f"Search for {model.type.upper()} on {data.feature_set.type}, universe {data.universe}",
            subtitle=_subtitle_html(report),
            cards=_cards(report),
            drawings=_drawings(report),
            rules=_RULES,
            inputs=report.inputs,
            notes=report.notes,
        )
    )


def to_json(report: SearchReport) -> str:
    """Everything that the page shows, as tables of numbers; NaN becomes null."""
    content = {
        "schema_version": SCHEMA_VERSION,
        "metric": report.config.tune.metric,
        "best": {"trial_id": trial_id(report.best.number), "values": dict(report.best.values)},
        "test": dict(report.test),
        "notes": list(report.notes),
        "inputs": dict(report.inputs),
        "importance": report.importance.to_dict(),
        "trials": records(report.trials.astype(object).where(report.trials.notna(), None)),
        "curves": records(report.curves),
    }
    return json.dumps(plain(content), indent=1, allow_nan=False)


_RULES = (
    "Trials are compared by the metric on the validation segment, of the epoch whose weights each trial keeps. The "
    "best of many is better there than it will be elsewhere, the more so the more trials there were. Test metrics were "
    "computed once, for the winner alone, after the search was over: nothing was chosen by them."
)


def _subtitle_html(report: SearchReport) -> str:
    config = report.config
    first, last = config.data.segments.valid
    how = f"{config.tune.search.type} search, scheduler {config.tune.scheduler.type}"
    return (
        f"{len(report.trials):,} trials, {to_text(how)}, compared by the {NAMES[config.tune.metric]} on "
        f"{first} to {last}. Best: <code>{to_text(told(report.best.values))}</code>."
    )


def _cards(report: SearchReport) -> list[FigureCard]:
    name, best, trials = NAMES[report.config.tune.metric], report.best, report.trials
    counts = trials["status"].value_counts()
    known = trials["metric"][trials["metric"].notna()]
    cards = [
        FigureCard(
            name=f"Validation {name} of the best",
            value=number(best.metric, 4),
            note=f"trial {trial_id(best.number)}",
            means=f"Of epoch {best.best_epoch}. The median trial has {number(float(known.median()), 4)}.",
            lead=True,
        )
    ]
    cards += _test_cards(report)
    cards += [
        FigureCard(
            name="Trials",
            value=f"{len(trials):,}",
            means=f"{counts.get(DONE, 0)} ran to their end, {counts.get(STOPPED, 0)} were stopped by the scheduler, "
            f"{counts.get(FAILED, 0)} failed.",
            lead=not report.test,
        ),
        FigureCard(
            name="Epochs",
            value=f"{int(trials['epochs'].sum()):,}",
            means=f"In all; {_saved(report)}.",
        ),
    ]
    return cards


def _test_cards(report: SearchReport) -> list[FigureCard]:
    test = report.test
    if not test:
        return []
    error = float(test.get("Rank IC standard error") or math.nan)
    return [
        FigureCard(
            name="Test Rank IC of the best",
            value=number(float(test["Rank IC"]), 4),
            note="computed once",
            means=f"Mean over dates that no trial saw; standard error {number(error, 4)}.",
            lead=True,
        ),
        FigureCard(
            name="Test Rank ICIR of the best",
            value=number(float(test["Rank ICIR"]), 3),
            means="Mean of the Rank IC of single dates over its standard deviation.",
            lead=True,
        ),
        FigureCard(
            name="Test IC of the best",
            value=number(float(test["IC"]), 4),
            means="Linear correlation of scores with the returns that followed, mean over dates.",
        ),
    ]


def _saved(report: SearchReport) -> str:
    trials = report.trials
    stopped = trials[trials["status"] == STOPPED]
    if stopped.empty:
        return "no trial was stopped early"
    median = stopped["epochs"].median()
    return f"half of those stopped had {median:g} epochs or fewer"


MOST_ROWS = 50


def _leaderboard(report: SearchReport, keys: Sequence[str]) -> Table:
    """The trials as a table, the best first."""
    shown = report.trials.head(MOST_ROWS)
    more = len(report.trials) - len(shown)
    rows = [
        [
            str(row["trial_id"]),
            number(float(row["metric"]), 4),
            *("" if pd.isna(row[key]) else shown_value(row[key]) for key in keys),
            str(row["epochs"]),
            str(row["best_epoch"]) if row["best_epoch"] else "",
            f"{row['seconds']:,.0f}",
            str(row["status"]) if pd.isna(row["error"]) else f"failed: {row['error']}",
        ]
        for row in shown.to_dict("records")
    ]
    columns = ["trial", f"validation {NAMES[report.config.tune.metric]}", *map(short_key, keys)]
    return Table(
        name="Trials",
        means="The best first. Seconds are those of training and validation."
        + (f" {more} more are in trials.parquet." if more else ""),
        columns=[*columns, "epochs", "best epoch", "seconds", "ended"],
        rows=rows,
    )


def _drawings(report: SearchReport) -> list[Drawing | Table]:
    trials, config = report.trials, report.config
    name, largest = NAMES[config.tune.metric], config.tune.mode == "max"
    keys = [key for key in config.search_space if key in trials]
    keys += [key for key in map(str, trials) if "." in key and key not in keys]
    logarithmic = [key for key, each in config.search_space.items() if isinstance(each, LogUniform)]
    return [
        _leaderboard(report, keys),
        Drawing(
            name="Learning curves",
            means="The metric on the validation segment, by epoch. The scheduler compares the best value so far; where "
            "it stopped a trial there is a bar.",
            draw=lambda: figures.learning_curves(trials, report.curves, trial_id(report.best.number), name),
            wide=True,
        ),
        Drawing(
            name="What was tried",
            means="A line for each trial through its values: the darker, the better. The best is red.",
            draw=lambda: figures.parallel_coordinates(trials, keys, name, largest=largest, logarithmic=logarithmic),
            wide=True,
        ),
        Drawing(
            name="Each key alone",
            means="The metric against the values of one key. A cloud without a slope says that the key matters little, "
            "or only together with others.",
            draw=lambda: figures.slices(trials, keys, name, logarithmic),
            wide=True,
        ),
        Drawing(
            name="What mattered",
            means="Share of the differences between trials that each key explains (fANOVA). With few trials this is a "
            "hint, not a finding.",
            draw=lambda: figures.importance(report.importance),
        ),
        Drawing(
            name="Where trials were stopped",
            means="Epochs of each trial, best trial at the top.",
            draw=lambda: figures.stops(trials),
        ),
        Drawing(
            name="In the order of trials",
            means="If the best value still rises at the end, more trials may find better ones.",
            draw=lambda: figures.progress_of_search(trials, name, largest=largest),
        ),
    ]
