"""Scoring the test segment: raybench's predictor against Qlib's ``predict`` and against the bare forward pass.

    python benchmarks/scoring.py [--short]

In process, on data that is loaded and processed; rows per second, medians of ``--repeats`` runs. The bare pass
has the windows of each date gathered beforehand and runs at the predictor's batch sizes, one date at a time.
"""

from __future__ import annotations

import statistics
import time

import numpy as np
import torch

from benchmarks._epochs import bare_forward
from benchmarks._measure import bars_of, config_of, measured, parser, qlib_case, run_qlib, use_cores
from raybench.allocator import keep_memory
from raybench.config.fused import fused_on_cpu
from raybench.config.panel_spec import PanelSpec
from raybench.panel import Panel
from raybench.panel.build import build_panel, scoring_panel
from raybench.scoring.predictor import Predictor
from raybench.training.network import build_model


def main() -> None:
    """Run both sides by turns and print rows per second and ratios."""
    options = parser(__doc__)
    options.add_argument("--qlib-jobs", type=int, nargs="+", default=[0, 20], help="loader processes; fastest counts")
    given = options.parse_args()
    use_cores(given.cores)
    with measured(f"scoring, GRU on Alpha158, {given.cores} cores") as figures:
        with bars_of(given.provider) as bars:
            config = config_of("gru_alpha158", bars, short=given.short)
            trained = build_panel(PanelSpec.of(config), bars, None, segments=("train",))
            fitted, fitted_on = trained.processors, trained.counts["train"]
            del trained
            start, end = config.data.segments.test
            panel = scoring_panel(PanelSpec.of(config), bars, None, fitted, start, end)
        weights = build_model(config, panel.columns).state_dict()
        predictor = Predictor(config, weights, panel, fused=fused_on_cpu(config, fitted_on))
        network = build_model(config, panel.columns)
        network.load_state_dict(weights)
        rows, batches = len(panel.segments["score"].samples), windows_by_date(panel)
        keep_memory()  # as a scoring job does
        ours, bare = [], []
        for _ in range(given.repeats):
            ours.append(seconds(predictor, panel))
            bare.append(bare_forward(network, batches))
        case = qlib_case(config, given.provider, epochs=0, jobs=given.qlib_jobs, predict=given.repeats)
        theirs = run_qlib(given.qlib_python, "train.py", case)
        by_jobs = np.reshape(theirs["predict_s"], (len(given.qlib_jobs), given.repeats))
        fastest = float(np.median(by_jobs, axis=1).min())
        figures |= {"rows": rows, "qlib_rows": theirs["rows"]}
        figures |= {
            "raybench_rows_per_s": rows / statistics.median(ours),
            "bare_torch_rows_per_s": rows / statistics.median(bare),
            "qlib_rows_per_s": theirs["rows"] / fastest,
        }
        figures["over_qlib"] = figures["raybench_rows_per_s"] / figures["qlib_rows_per_s"]
        figures["over_qlib_wanted_at_least"] = 4.0
        figures["over_bare_torch"] = statistics.median(bare) / statistics.median(ours)
        figures["over_bare_torch_wanted_at_least"] = 1.2


def seconds(predictor: Predictor, panel: Panel) -> float:
    """Seconds to score every date of the panel."""
    began = time.perf_counter()
    scored = sum(len(found.score_N) for found in predictor.score_between(panel.dates[0], np.datetime64("9999-12-31")))
    assert scored == len(panel.segments["score"].samples)
    return time.perf_counter() - began


def windows_by_date(panel: Panel) -> tuple[torch.Tensor, ...]:
    """Gather the windows of each date, dates and instruments in order."""
    segment = panel.segments["score"]
    order_S = np.lexsort((segment.samples.instrument_S, segment.samples.date_S))
    row_S = torch.from_numpy(segment.samples.row_S[order_S])
    counts = np.unique(segment.samples.date_S, return_counts=True)[1]
    return tuple(segment.source.gather(row_N).clone() for row_N in row_S.split(counts.tolist()))


if __name__ == "__main__":
    main()
