"""Runs where pyqlib is installed: what Qlib's handlers and datasets give for the cases of a JSON file.

    python tables.py PROVIDER CASES.json OUT

writes OUT/CASE/{train,valid,test}.npz (x [S, W, F] or [S, K], label [S], date, instrument) and, once per
feature set, OUT/{alpha158,alpha360}_raw.parquet.
"""

import json
import sys
from pathlib import Path

import numpy as np
import qlib
from qlib.contrib.data.handler import Alpha158, Alpha360
from qlib.data.dataset import DatasetH, TSDatasetH
from qlib.data.dataset.handler import DataHandlerLP

HANDLERS = {"alpha158": Alpha158, "alpha360": Alpha360}


def make_handler(case: dict) -> DataHandlerLP:
    infer = list(case["infer"])
    if case["columns"]:
        only = {"class": "FilterCol", "kwargs": {"fields_group": "feature", "col_list": case["columns"]}}
        infer = [only, *infer]
    fit_start, fit_end = case["segments"]["train"]
    return HANDLERS[case["feature_set"]](
        instruments=case["universe"],
        start_time=case["start"],
        end_time=case["end"],
        fit_start_time=fit_start,
        fit_end_time=fit_end,
        infer_processors=infer,
        learn_processors=case["learn"],
    )


def samples(handler: DataHandlerLP, case: dict, segment: str) -> dict:
    key = DataHandlerLP.DK_I if segment == "test" else DataHandlerLP.DK_L
    if case["feature_set"] == "alpha360":
        dataset = DatasetH(handler, case["segments"])
        table = dataset.prepare(segment, col_set=["feature", "label"], data_key=key)
        index, x, label = table.index, table["feature"].to_numpy(), table["label"].to_numpy()[:, 0]
    else:
        dataset = TSDatasetH(handler=handler, segments=case["segments"], step_len=case["step_len"])
        windows = dataset.prepare(segment, col_set=["feature", "label"], data_key=key)
        windows.config(fillna_type="ffill+bfill")
        index, both = windows.get_index(), windows[list(range(len(windows)))]
        x, label = both[:, :, :-1], both[:, -1, -1]
    return {
        "x": np.asarray(x, dtype=np.float32),
        "label": np.asarray(label, dtype=np.float32),
        "date": index.get_level_values("datetime").to_numpy().astype("datetime64[D]").astype(np.int64),
        "instrument": index.get_level_values("instrument").to_numpy().astype(str),
    }


def write_raw(kind: str, case: dict, out: Path) -> None:
    raw = make_handler({**case, "columns": None, "infer": [], "learn": []}).fetch(data_key=DataHandlerLP.DK_R)
    raw.columns = raw.columns.get_level_values(-1)
    raw.reset_index().to_parquet(out / f"{kind}_raw.parquet", index=False)


def main() -> None:
    provider, cases_file, out = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
    qlib.init(provider_uri=provider, region="cn", kernels=1, expression_cache=None, dataset_cache=None)
    written = set()
    for name, case in json.loads(cases_file.read_text()).items():
        if case["feature_set"] not in written:
            write_raw(case["feature_set"], case, out)
            written.add(case["feature_set"])
        handler = make_handler(case)
        (out / name).mkdir(parents=True)
        for segment in case["segments"]:
            np.savez(out / name / f"{segment}.npz", **samples(handler, case, segment))


if __name__ == "__main__":
    main()
