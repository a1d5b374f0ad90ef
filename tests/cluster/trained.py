"""Comparing what two trainings left."""

from __future__ import annotations

import pandas as pd
import torch

from raybench.runs.artifact import StoredRun

TIMES = ["seconds", "samples_per_second"]
FACTS = ("samples", "data", "data_fingerprint", "workers", "parameters")


def assert_same_training(run: StoredRun, expected: StoredRun) -> None:
    """History, weights, processors and what the data came to are equal, to the bit; how long it took may differ."""
    pd.testing.assert_frame_equal(
        run.history.drop(columns=TIMES), expected.history.drop(columns=TIMES), check_exact=True
    )
    assert run.weights.keys() == expected.weights.keys()
    assert all(torch.equal(value, expected.weights[name]) for name, value in run.weights.items())
    assert run.processors.to_json() == expected.processors.to_json()
    assert [run.manifest[name] for name in FACTS] == [expected.manifest[name] for name in FACTS]
