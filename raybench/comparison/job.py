"""Compare finished runs: configurations side by side, curves, test dates, paired tests, published figures.

OUT/table.md, table.csv   the table of configurations
OUT/report.html           a page that needs no network
OUT/report.json           what the page shows, as numbers
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pandas as pd

import raybench
from raybench.comparison.gathering import Gathered, gather, with_data
from raybench.comparison.judging import Judged, daily_by_name, judge_all
from raybench.comparison.paired import FEWEST, PairedTest, against_best, paired_table
from raybench.comparison.report import PAGE, write_report
from raybench.comparison.table import TableRow, table_frame, table_rows
from raybench.config import Config
from raybench.config.identity import differing, learned
from raybench.feature_sets.table import open_features
from raybench.market.bars import open_bars
from raybench.progress import SILENT, Progress
from raybench.reports.cards import ResultCard
from raybench.reports.html import Table, number
from raybench.storage import files
from raybench.storage.claims import held
from raybench.storage.places import Kind, refuse_others

SEED = "train.seed"


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Comparison(ResultCard):
    """Configurations side by side, the best mean Rank IC first.

    Attributes
    ----------
    rows : of the table, see ``comparison.table.TableRow``
    results : one row per run; daily : by date, see ``comparison.results``
    tests : of the daily Rank IC of each configuration, mean over its seeds, against the best's
    differing : by key of the configuration, the value of each that has it; only keys that differ, the seed apart
    common_dates : test dates that all tested runs have, of which the figures are; 0 where each has its own
    out : where the report lies, None if it was not asked for
    warnings : what a reader of the figures should know, a line each
    """

    rows: tuple[TableRow, ...]
    results: pd.DataFrame
    daily: pd.DataFrame
    tests: tuple[PairedTest, ...]
    differing: Mapping[str, Mapping[str, Any]]
    common_dates: int
    out: str | None = None
    warnings: tuple[str, ...] = ()

    @property
    def table(self) -> pd.DataFrame:
        """Every number of the table in a column of its own."""
        return table_frame(self.rows)

    @property
    def report(self) -> str | None:
        """Address of the page."""
        return None if self.out is None else files.join(self.out, PAGE)

    def card(self) -> tuple[str, Mapping[str, Any]]:
        """The Rank ICs, for a prompt or a notebook."""
        facts: dict[str, Any] = {row.name: _rank_ic(row) for row in self.rows}
        facts["common test dates"] = self.common_dates or "none"
        for test in self.tests[:3]:
            facts[f"{test.name} against {test.against}"] = f"{test.difference:+.4f}, p {test.p_holm:.3g}"
        fits = sum(row.fits for row in self.rows)
        return f"comparison of {fits} runs, Rank IC", {**facts, "report": self.report}


def compare_runs(
    runs: Sequence[str],
    *,
    out: str | None = None,
    bars: str | None = None,
    features: str | None = None,
    trust: bool = False,
    progress: Progress = SILENT,
) -> Comparison:
    """Compare the runs at addresses, see ``comparison.gathering``; with ``out``, a folder, a report is published there.

    ``bars`` and ``features`` say where the data lie now, by default where each was trained. ``trust``: runs may bring
    code of their own.
    """
    if out is None:
        return _compare(runs, None, bars, features, trust, progress)
    refuse_others(out, Kind.COMPARISON, option="--out", files=True)
    with held(out, what="compare"):
        return _compare(runs, out, bars, features, trust, progress)


def _compare(
    runs: Sequence[str], out: str | None, bars: str | None, features: str | None, trust: bool, progress: Progress
) -> Comparison:
    if bars is not None:  # before each run is found untested for it
        open_bars(bars)
    if features is not None:
        open_features(features)
    gathered = gather(runs, trust=trust)
    gathered = Gathered(
        fits=tuple(with_data(fit, bars, features) for fit in gathered.fits),
        failed=gathered.failed,
        warnings=gathered.warnings,
    )
    judged = judge_all(gathered, progress)
    configs = {name: gathered.of(name)[0].run.config for name in gathered.names}
    tests, told = _paired(judged, configs)
    different = differing_keys(configs)
    notes = (*gathered.warnings, *judged.warnings, *told)
    if out is None:
        rows = table_rows(judged.results, judged.daily, configs, judged.partial)
    else:
        rows = write_report(
            out,
            judged.results,
            judged.daily,
            configs=configs,
            partial=judged.partial,
            title=f"{len(configs)} configuration{'' if len(configs) == 1 else 's'} side by side",
            kind="comparison",
            histories={name: [fit.run.history for fit in gathered.of(name)] for name in gathered.names},
            more=[
                *_differing_table(different, gathered.names),
                _runs_table(gathered),
                *([paired_table(tests)] if tests else []),
            ],
            notes=notes,
            inputs=_inputs(gathered, judged),
        )
    return Comparison(
        rows=tuple(rows),
        results=judged.results,
        daily=judged.daily,
        tests=tests,
        differing=different,
        common_dates=judged.common,
        out=out,
        warnings=notes,
    )


def differing_keys(configs: Mapping[str, Config]) -> dict[str, dict[str, Any]]:
    """What configurations have otherwise, by key and name; a key that one lacks is not among its values."""
    facts = {name: learned(config) for name, config in configs.items()}
    all_facts = list(facts.values())
    keys = sorted({key for other in all_facts[1:] for key in differing(all_facts[0], other)} - {SEED})
    return {key: {name: facts[name][key] for name in facts if key in facts[name]} for key in keys}


def _paired(judged: Judged, configs: Mapping[str, Config]) -> tuple[tuple[PairedTest, ...], list[str]]:
    if not judged.common:
        return (), []
    horizon = max(config.data.horizon or 1 for config in configs.values())
    means = daily_by_name(judged.daily)
    tests = tuple(against_best(means, horizon=horizon))
    if (tests and tests[0].dates < FEWEST) or (means.shape[1] > 1 and not tests):
        return (), [f"fewer than {FEWEST} common test dates have a Rank IC of all: nothing is tested in pairs"]
    return tests, []


def _differing_table(different: Mapping[str, Mapping[str, Any]], names: Sequence[str]) -> list[Table]:
    if not different:
        return []
    rows = [[key, *(_value(values, name) for name in names)] for key, values in different.items()]
    means = "Keys of the configurations whose values are not all equal, the seed apart. Empty: there is no such key."
    return [Table(name="What differs", means=means, columns=["key", *names], rows=rows)]


def _value(values: Mapping[str, Any], name: str) -> str:
    if name not in values:
        return ""
    value = values[name]
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _runs_table(gathered: Gathered) -> Table:
    """The validation metrics of each run."""
    rows = []
    for fit in gathered.fits:
        manifest, metrics = fit.run.manifest, fit.run.metrics
        figures = [_figure(metrics.get(name)) for name in ("valid_rank_ic", "valid_ic", "valid_loss")]
        counts = [str(manifest[name]) for name in ("seed", "epochs", "best_epoch")]
        place = f"{fit.run.uri} ({fit.run.run_id})"
        rows.append([fit.name, *counts, *figures, f"{manifest['seconds']:,.1f} s", place])
    return Table(
        name="Runs",
        means="Figures of the epoch that was kept, on the validation segment that chose it: flattering. Seconds are "
        "those of the whole training.",
        columns=["configuration", "seed", "epochs", "best", "valid Rank IC", "valid IC", "valid loss", "time", "run"],
        rows=rows,
    )


def _figure(value: float | None) -> str:
    return number(float("nan") if value is None else float(value), 4)


def _inputs(gathered: Gathered, judged: Judged) -> dict[str, str]:
    common = f"{judged.common:,} dates that all of them have" if judged.common else "none in common"
    return {
        "Runs": f"{len(gathered.fits)} of {len(gathered.names)} configurations, {judged.tested} of them tested",
        "Test dates": common,
        "Made": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        "Made by": f"raybench {raybench.__version__}, numpy {np.__version__}, pandas {pd.__version__}",
    }


def _rank_ic(row: TableRow) -> str:
    figure = row.ours["Rank IC"]
    if not np.isfinite(figure.mean):
        return "not tested"
    spread = f" ± {figure.std:.4f} over {figure.seeds} seeds" if np.isfinite(figure.std) else ""
    return f"{figure.mean:.4f}{spread}"
