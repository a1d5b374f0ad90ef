"""Runs where pyqlib is installed: Qlib's LinearModel and LGBModel, fitted on given tables.

    python baselines.py CASES.json FOLDER

A case has a kind (linear, lightgbm), settings (the constructor's arguments) and a table: FOLDER/TABLE.npz with
train_x, train_label, valid_x, valid_label, test_x. FOLDER/CASE_fitted.npz gets the scores of the test rows, and
what was fitted: coef and intercept, or the number of trees.
"""

import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd
from qlib.contrib.model import gbdt
from qlib.contrib.model.linear import LinearModel


class Tables:
    """Gives what is asked of a DatasetH."""

    segments = ("train", "valid", "test")

    def __init__(self, data: dict) -> None:
        self._data = data

    def prepare(self, segment: str, col_set: object, data_key: str) -> pd.DataFrame:
        feature = pd.DataFrame(self._data[f"{segment}_x"])
        if col_set == "feature":
            return feature
        label = pd.DataFrame(self._data[f"{segment}_label"])
        return pd.concat({"feature": feature, "label": label}, axis=1)


def fitted(case: dict, dataset: Tables) -> dict:
    if case["kind"] == "linear":
        model = LinearModel(**case["settings"])
        model.fit(dataset)
        found = {"coef": model.coef_, "intercept": model.intercept_}
    else:
        model = gbdt.LGBModel(**case["settings"])
        model.fit(dataset)
        found = {"trees": model.model.best_iteration}
    return {"score": model.predict(dataset).to_numpy(), **found}


def main() -> None:
    folder = Path(sys.argv[2])
    gbdt.R.log_metrics = lambda **metrics: None  # there is no experiment to log to
    for name, case in json.loads(Path(sys.argv[1]).read_text()).items():
        dataset = Tables(dict(np.load(folder / f"{case['table']}.npz")))
        np.savez(folder / f"{name}_fitted.npz", **fitted(case, dataset))


if __name__ == "__main__":
    main()
