"""Features, processors and windows: every sample of every case equals what Qlib's datasets give."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from raybench.config import Config, load_config, parse_label
from raybench.config.data.label import DEFAULT_LABEL
from raybench.config.panel_spec import PanelSpec
from raybench.feature_sets import alpha158, alpha360, labels
from raybench.market.bars import Bars, open_bars
from raybench.market.importing.job import import_bars
from raybench.market.sources import open_source
from raybench.panel import Panel
from raybench.panel.build import build_panel
from tests.parity.cases import CASES

pytestmark = [pytest.mark.parity, pytest.mark.slow]

FEATURES = {"alpha158": (alpha158.NAMES, alpha158.compute), "alpha360": (alpha360.NAMES, alpha360.compute)}
# Pandas' mean of float32 near 1 is off by its last bit, which a per-date z-score magnifies: a cell that was filled
# with the mean comes out of Qlib as 3e-5 instead of 0.
ABSOLUTE = {"alpha360_per_date": 1e-4}
WITHIN = 0.9999  # share of cells that must agree: Qlib's running sums drift, and cancel badly on flat prices


@pytest.fixture(scope="session")
def bars(provider: Path, tmp_path_factory: pytest.TempPathFactory) -> Bars:
    uri = str(tmp_path_factory.mktemp("parity") / "bars")
    import_bars(open_source(str(provider), "qlib"), uri)
    return open_bars(uri)


def agreement(found: np.ndarray, expected: np.ndarray, *, absolute: float, relative: float) -> float:
    """Share of cells that agree; NaN agrees with NaN, and an infinity with itself."""
    return float(np.isclose(found, expected, atol=absolute, rtol=relative, equal_nan=True).mean())


@pytest.mark.parametrize("kind", ["alpha158", "alpha360"])
def test_raw_features_and_label(qlib_tables: Path, bars: Bars, kind: str) -> None:
    names, compute = FEATURES[kind]
    expected = pd.read_parquet(qlib_tables / f"{kind}_raw.parquet")
    assert list(expected.columns) == ["datetime", "instrument", *names, "LABEL0"]
    block = bars.block()
    found = pd.DataFrame(np.c_[compute(block), labels.compute(block, parse_label(DEFAULT_LABEL))])
    found.columns = [*names, "LABEL0"]
    found.index = pd.MultiIndex.from_arrays([np.array(block.instruments)[block.code_R], block.datetime_R])
    keys = pd.MultiIndex.from_arrays([expected["instrument"], expected["datetime"].astype("datetime64[us]")])
    found_RF = found.loc[keys].to_numpy(np.float32)
    expected_RF = expected[[*names, "LABEL0"]].to_numpy(np.float32)

    assert np.array_equal(np.isnan(found_RF), np.isnan(expected_RF))
    assert agreement(found_RF, expected_RF, absolute=1e-5, relative=1e-4) > WITHIN


@pytest.mark.parametrize("name", sorted(CASES))
def test_samples(qlib_tables: Path, bars: Bars, name: str) -> None:
    case = CASES[name]
    panel = build_panel(PanelSpec.of(config_of(case, bars)), bars, None, segments=tuple(case["segments"]))
    for segment in case["segments"]:
        with np.load(qlib_tables / name / f"{segment}.npz") as expected:
            check_segment(panel, segment, dict(expected), absolute=ABSOLUTE.get(name, 2e-5))


def check_segment(panel: Panel, name: str, expected: dict[str, Any], *, absolute: float) -> None:
    """The same samples; equal windows; where the learn processors made the labels, equal labels."""
    segment = panel.segments[name]
    samples = segment.samples
    dates = panel.dates[samples.date_S].astype("datetime64[D]").astype(np.int64)
    instruments = np.array(panel.instruments)[samples.instrument_S]
    ours, theirs = order(dates, instruments), order(expected["date"], expected["instrument"])
    assert np.array_equal(dates[ours], expected["date"][theirs])
    assert np.array_equal(instruments[ours], expected["instrument"][theirs])

    x_SWF = segment.source.gather(torch.from_numpy(samples.row_S[ours])).numpy()
    if expected["x"].ndim == 2:  # Qlib's flat rows: one block of lags per field
        x_SWF = x_SWF.transpose(0, 2, 1).reshape(len(x_SWF), -1)
    expected_x = expected["x"][theirs]
    assert x_SWF.shape == expected_x.shape
    assert np.array_equal(np.isnan(x_SWF), np.isnan(expected_x))
    assert agreement(x_SWF, expected_x, absolute=absolute, relative=1e-4) > WITHIN
    if name != "test":
        np.testing.assert_allclose(samples.label_S[ours], expected["label"][theirs], atol=1e-5)


def order(dates: np.ndarray, instruments: np.ndarray) -> np.ndarray:
    return np.lexsort((instruments, dates))


def config_of(case: dict[str, Any], bars: Bars) -> Config:
    return load_config(
        {
            "data": {
                "bars": bars.uri,
                "universe": case["universe"],
                "feature_set": {
                    "type": case["feature_set"],
                    **({"columns": case["columns"]} if case["columns"] else {}),
                },
                "step_len": case["step_len"],
                "segments": case["segments"],
                "start": case["start"],
                "processors": {"infer": case["infer"], "learn": case["learn"]},
            },
            "model": {"type": "gru"},
            "recipe": "qlib",
        }
    )
