"""Qlib's side of the training and scoring benchmarks; runs in an environment with pyqlib.

    python train.py CASE_AS_JSON

Prints the seconds of each epoch of ``fit`` (all of it: training pass, report pass, validation) for each number
of loader processes in ``jobs``, the seconds of each ``predict`` and its rows. ``device``: -1 is the CPU.
"""

from __future__ import annotations

import importlib
import json
import sys
import time
from types import SimpleNamespace
from typing import Any

import qlib
import torch
from qlib.contrib.data import handler as handlers
from qlib.data.dataset import DatasetH, TSDatasetH

FEATURE = {"fields_group": "feature"}


def make_dataset(case: dict[str, Any]) -> DatasetH:
    """Build the handler and dataset of Qlib's own benchmark configuration."""
    infer = [
        {"class": "RobustZScoreNorm", "kwargs": {**FEATURE, "clip_outlier": True}},
        {"class": "Fillna", "kwargs": FEATURE},
    ]
    if case["columns"]:
        infer.insert(0, {"class": "FilterCol", "kwargs": {**FEATURE, "col_list": case["columns"]}})
    fit_start, fit_end = case["segments"]["train"]
    handler = getattr(handlers, case["feature_set"].capitalize())(
        instruments=case["universe"],
        start_time=case["start"],
        end_time=case["end"],
        fit_start_time=fit_start,
        fit_end_time=fit_end,
        infer_processors=infer,
        learn_processors=[{"class": "DropnaLabel"}, {"class": "CSRankNorm", "kwargs": {"fields_group": "label"}}],
    )
    if case["feature_set"] == "alpha360":
        return DatasetH(handler, case["segments"])
    return TSDatasetH(handler=handler, segments=case["segments"], step_len=case["step_len"])


def make_model(case: dict[str, Any], dataset: DatasetH, jobs: int) -> Any:
    """Build Qlib's network of the case for this dataset, with the clock of its epochs in ``model.seconds``."""
    windows, name = isinstance(dataset, TSDatasetH), case["network"]
    module = importlib.import_module(f"qlib.contrib.model.pytorch_{name}{'_ts' if windows else ''}")
    # fit ends by writing its metrics to an experiment; the benchmark has none
    module.R = SimpleNamespace(get_recorder=lambda: SimpleNamespace(log_metrics=lambda **metrics: None))
    model = getattr(module, "GATs" if name == "gats" else name.upper())(
        d_feat=6 if case["feature_set"] == "alpha360" else len(case["columns"] or range(158)),
        hidden_size=case["hidden_size"],
        num_layers=case["num_layers"],
        dropout=case["dropout"],
        n_epochs=max(case["epochs"], 1),
        lr=case["lr"],
        batch_size=case["batch_size"],
        metric="loss",
        loss="mse",
        GPU=case.get("device", -1),
        **({"n_jobs": jobs} if windows else {}),
        **{key: case[key] for key in ("base_model", "rnn_type") if key in case},
    )
    clock(model)
    return model


def clock(model: Any) -> None:
    """Time each epoch from the first training step to the end of the second evaluation, the validation."""
    train, test = model.train_epoch, model.test_epoch
    model.seconds, began, evaluations = [], [0.0], [0]

    def train_epoch(*data: Any) -> None:
        began[0], evaluations[0] = time.perf_counter(), 0
        train(*data)

    def test_epoch(*data: Any) -> Any:
        found = test(*data)
        evaluations[0] += 1
        if evaluations[0] == 2:
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            model.seconds.append(time.perf_counter() - began[0])
        return found

    model.train_epoch, model.test_epoch = train_epoch, test_epoch


def main() -> None:
    """Fit and predict as the case says; print the figures as one line of JSON."""
    case = json.loads(sys.argv[1])
    qlib.init(provider_uri=case["provider"], region="cn", logging_level=40)
    dataset = make_dataset(case)
    flat = case["feature_set"] == "alpha360"
    figures: dict[str, Any] = {"epoch_s": [], "predict_s": [], "rows": 0, "train_samples": 0}
    for jobs in [0] if flat else case["jobs"]:
        model = make_model(case, dataset, jobs)
        if case["epochs"]:
            model.fit(dataset, save_path="/dev/null", evals_result={})
            figures["epoch_s"] += model.seconds
        model.fitted = True
        for _ in range(case["predict"]):
            began = time.perf_counter()
            figures["rows"] = len(model.predict(dataset))
            figures["predict_s"].append(time.perf_counter() - began)
    if case["epochs"]:
        figures["train_samples"] = len(dataset.prepare("train", col_set="label", data_key="learn"))
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
