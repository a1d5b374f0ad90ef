"""The end of a search: what its winner is worth on test dates, and the report."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import pandas as pd

import raybench
from raybench.cluster.jobs.scoring import score
from raybench.config import Config
from raybench.errors import DataError
from raybench.evaluation.job import evaluate_scores
from raybench.progress import Progress
from raybench.runs.artifact import StoredRun
from raybench.search.draws import told
from raybench.search.ledger import Ledger, TrialRecord, trial_folder, trial_id
from raybench.search.report import SearchReport, to_html, to_json
from raybench.storage import files
from raybench.training import checkpoints

NO_TEST = "the winner has no test metrics: {why}; score and evaluate DIR/best when there are test dates"


def finish(
    config: Config, out: str, ledger: Ledger, best: StoredRun, winner: TrialRecord, progress: Progress
) -> tuple[Mapping[str, Any], tuple[str, ...]]:
    """Compute the winner's test metrics and publish the report; returns them, and what a reader should know."""
    warnings = list(best.warnings)
    test: Mapping[str, Any] = {}
    try:
        test = _test(config, out, best, progress)
    except DataError as error:
        warnings.append(NO_TEST.format(why=error))
    failed = [record for record in ledger.records.values() if record.error]
    if failed:
        warnings.append(f"{len(failed)} of {len(ledger.records)} trials failed, the first with: {failed[0].error}")
    report = SearchReport(
        config=config,
        trials=ledger.frame(),
        records=[ledger.records[number] for number in sorted(ledger.records)],
        curves=_curves(config, out, ledger),
        best=winner,
        test=test,
        inputs=_inputs(config, out, best, winner),
        notes=warnings,
    )
    files.publish_bytes(files.join(out, "report.html"), to_html(report).encode())
    files.publish_bytes(files.join(out, "report.json"), to_json(report).encode())
    return test, tuple(warnings)


def _test(config: Config, out: str, best: StoredRun, progress: Progress) -> Mapping[str, Any]:
    """Score and evaluate the test segment with the winner. DataError where the data have none of its dates yet."""
    data = best.config.data
    first, last = (str(day) for day in data.segments.test)
    scores, evaluation = files.join(out, "scores"), files.join(out, "evaluation")
    files.discard(scores)  # of another winner, before an interrupt
    files.discard(evaluation)
    bars, table = data.bars, data.features
    done = score(best.uri, bars=bars, features=table, to=scores, start=first, end=last, trust=True, progress=progress)
    if not done.written:
        raise DataError(f"no date from {first} to {last} can be scored")
    result = evaluate_scores(scores, bars, features=table, out=evaluation, model=best.uri, progress=progress)
    return {name: value for name, value in result.metrics.items() if math.isfinite(value)}


def _curves(config: Config, out: str, ledger: Ledger) -> pd.DataFrame:
    """The metric by epoch of each trial, out of its last checkpoint; a pretraining has none."""
    rows = []
    for number, record in sorted(ledger.records.items()):
        found = checkpoints.newest_state(trial_folder(out, number))
        for each in [] if found is None else found[0].own_history():
            if each.epoch > record.epochs:
                break
            value = float(getattr(each, f"valid_{config.tune.metric}"))
            rows.append({"trial_id": trial_id(number), "epoch": each.epoch, "value": value})
    return pd.DataFrame(rows, columns=["trial_id", "epoch", "value"])


def _inputs(config: Config, out: str, best: StoredRun, winner: TrialRecord) -> Mapping[str, str]:
    data = config.data
    place = data.features or data.bars
    return {
        "Search": f"{out} ({config.tune.search.type}, seed {config.tune.search.seed}; {config.tune.scheduler.type})",
        "Best run": f"{best.uri} ({best.run_id}), trial {trial_id(winner.number)}: {told(winner.values)}",
        "Data": f"{place} (fingerprint {str(best.manifest['data_fingerprint'])[:16]})",
        "Made": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        "Made by": f"raybench {raybench.__version__}",
    }
