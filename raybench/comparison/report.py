"""The report of several configurations: table.md, table.csv, report.html and report.json in one folder.

Equal content gives equal bytes: nothing here looks at the clock.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from raybench.comparison import figures
from raybench.comparison.published import METRICS, SOURCE
from raybench.comparison.roll_table import roll_tables
from raybench.comparison.table import TableRow, per_seed, table_frame, table_rows, tables, to_csv, to_markdown
from raybench.config import Config
from raybench.reports.html import Drawing, FigureCard, Page, Table, number, to_html
from raybench.reports.plain import plain, records
from raybench.storage import files

SCHEMA_VERSION = 1
PAGE, CONTENT, MARKDOWN, CSV = "report.html", "report.json", "table.md", "table.csv"

RULES = (
    "IC and Rank IC are means over the test dates of each fit, ICIR and Rank ICIR the mean over the standard deviation "
    "of single dates, not annualised; then come mean and sample standard deviation over fits. No fit that failed is in "
    "a mean. Seeds share the test dates, so the deviation over seeds says how much training varies, and nothing of "
    "what other dates would have brought."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparisonReport:
    """What a report shows.

    results, daily : the frames of :mod:`raybench.comparison.results`
    configs : by name; what has none is not compared with published figures
    partial : names whose figures are of some of their test dates only
    title, kind : the headline, and what sort of report it is
    histories : by name, the epochs of each run
    more : tables that follow the results, such as paired tests
    notes : what a reader has to know first
    inputs : what it was made from and with, listed at the foot of the page
    """

    results: pd.DataFrame
    daily: pd.DataFrame
    configs: Mapping[str, Config] = field(default_factory=dict)
    partial: Collection[str] = ()
    title: str = "Configurations side by side"
    kind: str = "benchmark"
    histories: Mapping[str, Sequence[pd.DataFrame]] = field(default_factory=dict)
    more: Sequence[Table] = ()
    notes: Sequence[str] = ()
    inputs: Mapping[str, str] = field(default_factory=dict)

    @property
    def rows(self) -> list[TableRow]:
        """The rows of the table."""
        return table_rows(self.results, self.daily, self.configs, self.partial)


def write_report(
    out: files.Uri,
    results: pd.DataFrame,
    daily: pd.DataFrame,
    *,
    configs: Mapping[str, Config] | None = None,
    partial: Collection[str] = (),
    title: str = "Configurations side by side",
    kind: str = "benchmark",
    histories: Mapping[str, Sequence[pd.DataFrame]] | None = None,
    more: Sequence[Table] = (),
    notes: Sequence[str] = (),
    inputs: Mapping[str, str] | None = None,
) -> list[TableRow]:
    """Publish the four files in the folder ``out``, and return the rows of the table, best mean Rank IC first.

    The arguments are those of :class:`ComparisonReport`.
    """
    report = ComparisonReport(
        results=results,
        daily=daily,
        configs=configs or {},
        partial=partial,
        title=title,
        kind=kind,
        histories=histories or {},
        more=more,
        notes=notes,
        inputs=inputs or {},
    )
    rows = report.rows
    contents = {
        PAGE: page(report, rows),  # says whose the folder is, see places
        CSV: to_csv(rows),
        MARKDOWN: to_markdown(rows, title),
        CONTENT: content(report, rows),
    }
    for name, text in contents.items():
        files.publish_bytes(files.join(out, name), text.encode())
    return rows


def page(report: ComparisonReport, rows: Sequence[TableRow]) -> str:
    """The page."""
    found = [*tables(rows), *roll_tables(report.results, _order(rows)), *report.more]
    return to_html(
        Page(
            kind=report.kind,
            title=report.title,
            subtitle=_subtitle(report, rows),
            cards=_cards(rows),
            drawings=[found[0], *_drawings(report, rows), *found[1:]],
            rules=RULES,
            inputs={**report.inputs, "Published figures": SOURCE},
            notes=[*_failures(rows), *report.notes],
        )
    )


def content(report: ComparisonReport, rows: Sequence[TableRow]) -> str:
    """Everything that the page shows, as tables of numbers; NaN becomes null."""
    values: dict[str, Any] = {
        "schema_version": SCHEMA_VERSION,
        "title": report.title,
        "kind": report.kind,
        "inputs": dict(report.inputs),
        "warnings": list(report.notes),
        "published": SOURCE,
        "table": _objects(table_frame(rows)),
        "results": _objects(report.results),
        "daily_rank_ic": records(figures.daily_means(report.daily, _order(rows)).reset_index()),
        "histories": {name: [records(each) for each in runs] for name, runs in report.histories.items()},
        "tables": [
            {"name": t.name, "columns": list(t.columns), "rows": [list(r) for r in t.rows]} for t in report.more
        ],
    }
    return json.dumps(plain(values), indent=1, allow_nan=False, ensure_ascii=False) + "\n"


def _objects(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows as objects, null for what is not known."""
    known = frame.astype(object).where(frame.notna(), None)
    return [dict(zip(map(str, known), row, strict=True)) for row in known.itertuples(index=False, name=None)]


def _order(rows: Sequence[TableRow]) -> list[str]:
    return [row.name for row in rows]


def _subtitle(report: ComparisonReport, rows: Sequence[TableRow]) -> str:
    when = report.daily["datetime"]
    many = f"{len(rows)} configuration{'' if len(rows) == 1 else 's'}, {sum(row.fits for row in rows)} fits"
    return many if when.empty else f"{many}, tested on {when.min():%Y-%m-%d} to {when.max():%Y-%m-%d}."


def _failures(rows: Sequence[TableRow]) -> list[str]:
    failed = {row.name: row.failed for row in rows if row.failed}
    if not failed:
        return []
    named = ", ".join(f"{count} of {name}" for name, count in failed.items())
    return [f"{sum(failed.values())} fits failed and are in no mean: {named}; the table says why"]


def _cards(rows: Sequence[TableRow]) -> list[FigureCard]:
    """The best row, by each of the four metrics."""
    cards = []
    for metric in ("Rank IC", "Rank ICIR", "IC", "ICIR"):
        known = [row for row in rows if np.isfinite(row.ours[metric].mean)]
        if known:
            best = max(known, key=lambda row: row.ours[metric].mean)
            figure = best.ours[metric]
            digits = 3 if metric.endswith("ICIR") else 4
            spread = f"± {figure.std:.{digits}f}" if np.isfinite(figure.std) else "one fit"
            cards.append(
                FigureCard(
                    name=f"Best {metric}",
                    value=number(figure.mean, digits),
                    note=spread,
                    means=f"{best.name}, mean over {figure.seeds} fit{'' if figure.seeds == 1 else 's'} on their test "
                    "dates. The best of many is flattered by chance.",
                    lead=True,
                )
            )
    assert len(cards) <= len(METRICS)
    return cards


def _drawings(report: ComparisonReport, rows: Sequence[TableRow]) -> list[Drawing]:
    order, results, daily = _order(rows), report.results, report.daily
    fits = per_seed(results, daily)
    fits = fits[fits["error"].isna()]
    drawings = [
        Drawing(
            name="Rank IC by configuration",
            means=f"One point for each fit; a box (quartiles, median) from {figures.FEW} fits on. Where points of two "
            "rows mingle, the seed matters more than the configuration.",
            draw=lambda: figures.rank_ic_by_name(fits, order),
            wide=True,
        ),
        Drawing(
            name="What time buys",
            means="Mean Rank IC against seconds of a fit. On the line: what no faster configuration reaches.",
            draw=lambda: figures.against(fits, "seconds", order, "seconds of a fit"),
        ),
        Drawing(
            name="What parameters buy",
            means="Mean Rank IC against trained parameters. On the line: what no smaller one reaches.",
            draw=lambda: figures.against(fits, "parameters", order, "parameters"),
        ),
        Drawing(
            name="Rank IC over time",
            means="Mean over seeds, summed up over the test dates. A lead that comes from few dates may be chance.",
            draw=lambda: figures.cumulative_rank_ic(daily, order),
            wide=True,
        ),
    ]
    if results["roll"].notna().any():
        drawings += [
            Drawing(
                name=f"{metric} by roll",
                means="Each roll is trained anew on the dates before it.",
                draw=partial(figures.by_roll, results[results["error"].isna()], order, metric),
                wide=True,
            )
            for metric in ("IC", "Rank IC")
        ]
    if any(len(history) for runs in report.histories.values() for history in runs):
        drawings.append(
            Drawing(
                name="Learning curves",
                means="Loss and Rank IC on the validation segment, a line for each run. Losses of different labels "
                "or processors are not on one scale.",
                draw=lambda: figures.learning_curves(report.histories, order),
                wide=True,
            )
        )
    return drawings
