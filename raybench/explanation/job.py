"""Publish an explanation: tables, page and summary.

    OUT/*.parquet      see ``tables``; those that the network does not give are not there
    OUT/report.html    a page that needs no network
    OUT/explain.json   what was explained, what is there and what is absent and why; published last

An explanation that was there before loses its explain.json first, so whoever finds that file finds all of one.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

import raybench
from raybench.explanation.explanation import Explanation
from raybench.explanation.report import ExplanationReport, to_html
from raybench.explanation.tables import FILES, tables_of
from raybench.reports.plain import plain, records
from raybench.storage import files

SCHEMA_VERSION = 1
REPORT, SUMMARY = "report.html", "explain.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class ExplanationOrigin:
    """What was explained: a run, and the dates [first, last] of its importance."""

    model: str
    run_id: str
    network: str
    inputs: Mapping[str, str]
    first: str
    last: str
    seed: int


def publish(
    out: str, explanation: Explanation, origin: ExplanationOrigin, instruments: Sequence[str] = ()
) -> dict[str, Any]:
    """Write everything into the folder ``out`` -> the content of explain.json."""
    explanation.places_of(instruments)  # strangers are told of before anything is touched
    files.remove(files.join(out, SUMMARY))
    files.publish_bytes(files.join(out, REPORT), to_html(_report(explanation, origin, instruments)).encode())
    rows: dict[str, int] = {}
    for name, table in tables_of(explanation, instruments):
        files.publish_table(files.join(out, name), table, metadata={})
        rows[name] = table.num_rows
    for name in (name for name in FILES if name not in rows):
        files.remove(files.join(out, name))
    summary: dict[str, Any] = plain(_summary(explanation, origin, rows, instruments))
    content = json.dumps(summary, indent=2, allow_nan=False) + "\n"
    files.publish_bytes(files.join(out, SUMMARY), content.encode())
    return summary


def _summary(
    explanation: Explanation, origin: ExplanationOrigin, rows: Mapping[str, int], instruments: Sequence[str]
) -> dict[str, Any]:
    importance = explanation.importance
    return {
        "schema_version": SCHEMA_VERSION,
        "model": origin.model,
        "run_id": origin.run_id,
        "network": origin.network,
        "datetime": pd.Timestamp(explanation.moment),
        "instruments": len(explanation.instrument_N),
        "named": sorted(set(instruments)),
        "step_len": explanation.x_NWF.shape[1],
        "features": list(explanation.features),
        "hidden_states": {name: h_NWH.shape[2] for name, h_NWH in explanation.hidden.items()},
        "gates": {name: list(layer.gates) for name, layer in explanation.gates.items()},
        "attention": {name: list(each.axes) for name, each in explanation.attention.items()},
        "gradients_of": None if explanation.gradient_NWF is None else "sum" if explanation.across else "score",
        "importance": {
            "measure": importance.measure,
            "first": origin.first,
            "last": origin.last,
            "dates": importance.dates,
            "seed": origin.seed,
            "rank_ic": importance.rank_ic,
            **records(importance.table.drop(columns=["measure", "dates"])),
        },
        "absent": explanation.absent,
        "rows": dict(rows),
        "raybench": raybench.__version__,
    }


def _report(explanation: Explanation, origin: ExplanationOrigin, instruments: Sequence[str]) -> ExplanationReport:
    dates = explanation.importance.dates
    span = "this date alone" if dates == 1 else f"{dates:,} dates from {origin.first} to {origin.last}"
    return ExplanationReport(
        explanation=explanation,
        title=origin.network,
        span=span,
        named=instruments,
        inputs=origin.inputs,
    )
