"""Panels against what Qlib computed on the real data, and their rules on a small market."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from raybench.config import Config, load_config
from raybench.config.panel_spec import PanelSpec
from raybench.errors import ConfigError, DataError
from raybench.feature_sets.build import compute_features
from raybench.feature_sets.table import open_features
from raybench.market.bars import Bars, open_bars
from raybench.panel import Panel, pack, unpack
from raybench.panel.build import scoring_panel
from tests.panel.panel_market import COLUMNS, SEGMENTS, make_config, market_frame, panel_of, universe_spans, write_bars


@pytest.fixture(scope="module")
def oracle(shared: Path) -> Path:
    return shared / "oracle" / "features"


@pytest.fixture(scope="module")
def meta(oracle: Path) -> dict:
    return json.loads((oracle / "features_meta.json").read_text())


def cn_config(meta: dict, recipe: str) -> Config:
    data = {
        "bars": "bars",
        "universe": meta["universe"],
        "feature_set": {"type": "alpha158", "columns": meta["columns"]},
        "start": meta["start"],
        "segments": meta["segments"],
    }
    return load_config({"data": data, "model": {"type": "gru"}, "recipe": recipe})


@pytest.fixture(scope="module", params=["qlib", "raybench"])
def cn_panel(request: pytest.FixtureRequest, cn_bars: Bars, meta: dict) -> tuple[str, Panel]:
    return request.param, panel_of(cn_config(meta, request.param), cn_bars, None)


def keys(panel: Panel, segment: str) -> pd.MultiIndex:
    samples = panel.segments[segment].samples
    names = np.array(panel.instruments)[samples.instrument_S]
    return pd.MultiIndex.from_arrays([panel.dates[samples.date_S], names])


def windows(panel: Panel, segment: str, at: np.ndarray | None = None) -> np.ndarray:
    part = panel.segments[segment]
    rows = torch.from_numpy(part.samples.row_S)
    return part.source.gather(rows if at is None else rows[torch.from_numpy(at)]).numpy()


@pytest.mark.shared
def test_equals_qlib(cn_panel: tuple[str, Panel], meta: dict, oracle: Path) -> None:
    recipe, panel = cn_panel
    assert panel.counts == meta["counts"]
    assert list(panel.columns) == meta["columns"]
    norm = panel.processors.infer[0].feature_PF
    np.testing.assert_allclose(norm[0], meta["robust_zscore"]["median"], rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(norm[1], meta["robust_zscore"]["scale"], rtol=1e-6, atol=1e-9)
    with np.load(oracle / "windows_ts20.npz") as stored:
        for segment in ("train", "valid", "test"):
            dates = stored[f"{segment}_datetime"].astype("datetime64[D]").astype("datetime64[us]")
            want = pd.MultiIndex.from_arrays([dates, stored[f"{segment}_instrument"].astype(str)])
            at = keys(panel, segment).get_indexer(want)
            assert (at >= 0).all()
            label_S = panel.segments[segment].samples.label_S[at]
            np.testing.assert_allclose(label_S, stored[f"{segment}_windows"][:, -1, -1], atol=1e-5)
            off = np.abs(windows(panel, segment, at) - stored[f"{segment}_windows"][:, :, :-1]).max((1, 2)) > 1e-5
            if recipe == "qlib" or segment == "test":
                assert not off.any()
            else:  # windows that hold a row whose label is missing differ, and only those
                assert 0 < off.mean() < 0.1


@pytest.mark.shared
def test_qlib_orders_by_instrument(cn_panel: tuple[str, Panel]) -> None:
    recipe, panel = cn_panel
    samples = panel.segments["valid"].samples
    code_S = samples.instrument_S if recipe == "qlib" else samples.date_S
    assert (np.diff(code_S) >= 0).all()


@pytest.mark.shared
def test_processed_rows_and_labels_equal_qlib(cn_panel: tuple[str, Panel], meta: dict, oracle: Path) -> None:
    _, panel = cn_panel
    infer = pd.read_parquet(oracle / "alpha158_20_infer.parquet").set_index(["datetime", "instrument"])
    learn = pd.read_parquet(oracle / "alpha158_20_learn_label.parquet").set_index(["datetime", "instrument"])
    seen = 0
    for segment in ("train", "valid", "test"):
        index = keys(panel, segment)
        at = index.get_indexer(infer.index)
        found = at >= 0
        last = windows(panel, segment, at[found])[:, -1]
        np.testing.assert_allclose(last, infer.loc[found, meta["columns"]], atol=1e-5)
        samples = panel.segments[segment].samples
        np.testing.assert_allclose(samples.raw_label_S[at[found]], infer.loc[found, "LABEL0"], atol=1e-6)
        seen += found.sum()
        if segment != "test":
            at = index.get_indexer(learn.index)
            np.testing.assert_allclose(samples.label_S[at[at >= 0]], learn.loc[at >= 0, "LABEL0"], atol=1e-5)
            assert (at >= 0).sum() > 3000
    assert seen > 0.95 * len(infer)


@pytest.mark.shared
@pytest.mark.parametrize("span", [("2019-06-25", "2019-07-30"), ("2020-06-30", "2020-06-30")])
def test_scoring_sees_the_windows_of_the_test_segment(
    cn_panel: tuple[str, Panel], cn_bars: Bars, meta: dict, span: tuple[str, str]
) -> None:
    recipe, panel = cn_panel
    start, end = (np.datetime64(d) for d in span)
    scored = scoring_panel(PanelSpec.of(cn_config(meta, recipe)), cn_bars, None, panel.processors, start, end)
    at = keys(panel, "test").get_indexer(keys(scored, "score"))
    assert (at >= 0).all()
    dates = panel.dates[panel.segments["test"].samples.date_S]
    assert len(at) == ((dates >= start) & (dates <= end)).sum()
    np.testing.assert_array_equal(windows(scored, "score"), windows(panel, "test", at))


@pytest.fixture(scope="module")
def bars(tmp_path_factory: pytest.TempPathFactory) -> Bars:
    return write_bars(tmp_path_factory.mktemp("few") / "bars", market_frame())


def test_rows_are_those_of_the_universe(bars: Bars) -> None:
    panel = panel_of(make_config(), bars, None)
    spans = universe_spans().set_index("instrument")
    for (date, name), row in zip(keys(panel, "test"), range(panel.counts["test"]), strict=True):
        own = spans.loc[[name]]
        assert ((own["start"] <= str(date)[:10]) & (own["end"] >= str(date)[:10])).any(), row
    samples = panel.segments["train"].samples
    assert not np.isnan(samples.label_S).any()
    assert {"I00", "I01", "I02", "I04"} <= set(panel.instruments)
    assert "I08" not in panel.instruments


def test_embargo_drops_the_last_dates_of_train_and_valid(bars: Bars) -> None:
    plain = panel_of(make_config(), bars, None)
    spared = panel_of(make_config(embargo=2), bars, None)
    for segment, gone in (("train", 2), ("valid", 2), ("test", 0)):
        dates = [sorted(set(p.dates[p.segments[segment].samples.date_S])) for p in (plain, spared)]
        assert dates[1] == dates[0][: len(dates[0]) - gone]


def test_pack_shares_each_array_once(bars: Bars) -> None:
    panel = panel_of(make_config(recipe="qlib"), bars, None)
    spec, arrays = pack(panel)
    for array in arrays.values():
        array.flags.writeable = False
    again = unpack(spec, arrays)
    wide = [name for name, array in arrays.items() if array.ndim == 2]
    assert len(wide) == 1, "train, valid and test share their features"
    assert again.nbytes == panel.nbytes == sum(array.nbytes for array in arrays.values())
    assert (again.counts, again.columns, again.fingerprint) == (panel.counts, panel.columns, panel.fingerprint)
    for segment in panel.segments:
        np.testing.assert_array_equal(windows(again, segment), windows(panel, segment))


def test_a_table_of_features_gives_the_panel_of_its_bars(bars: Bars, tmp_path: Path) -> None:
    table = compute_features(bars.block().to_frame(), "alpha158", COLUMNS).rename(columns={"LABEL0": "mine"})
    table = table.assign(weight=1.5, unused="text").sample(frac=1, random_state=0)
    table.to_parquet(tmp_path / "table.parquet", index=False)
    opened = open_features(str(tmp_path / "table.parquet"))
    weighted = {"sample_weight": {"type": "column", "column": "weight"}}
    config = make_config(
        features="table", label="mine", train=weighted, feature_set={"type": "table", "columns": COLUMNS[::-1]}
    )
    panel, want = (
        panel_of(config, bars, opened),
        panel_of(make_config(), bars, None),
    )
    assert panel.columns == want.columns
    for segment in want.segments:
        np.testing.assert_array_equal(windows(panel, segment), windows(want, segment))
        np.testing.assert_array_equal(panel.segments[segment].samples.label_S, want.segments[segment].samples.label_S)
    assert set(panel.segments["train"].samples.weight_S) == {1.5}
    assert panel.segments["valid"].samples.weight_S is None
    whole = panel_of(
        make_config(features="table", label="mine", universe="all", feature_set={"type": "table"}),
        None,
        opened,
    )
    assert whole.columns == (*COLUMNS, "weight")
    assert "I08" in whole.instruments
    span = np.datetime64("2020-12-01"), np.datetime64("2020-12-04")
    scored = scoring_panel(PanelSpec.of(config), bars, opened, panel.processors, *span)
    np.testing.assert_array_equal(
        windows(scored, "score"), windows(panel, "test", keys(panel, "test").get_indexer(keys(scored, "score")))
    )


def test_weights_halve_into_the_past(bars: Bars) -> None:
    weight = {"type": "time_decay", "half_life": 10}
    samples = panel_of(make_config(train={"sample_weight": weight}), bars, None).segments["train"].samples
    age = samples.date_S.max() - samples.date_S
    np.testing.assert_allclose(samples.weight_S, 0.5 ** (age / 10), rtol=1e-6)
    assert samples.weight_S[age == 10][0] == pytest.approx(0.5)


def test_what_cannot_be_trained_on_is_said(bars: Bars, tmp_path: Path) -> None:
    late = {**SEGMENTS, "test": ["2022-01-01", "2022-02-01"]}
    with pytest.raises(DataError, match=r"segments\.test.*2022-01-01.*run from"):
        panel_of(make_config(segments=late), bars, None)
    never = {name: [date.replace("2020", "2010") for date in dates] for name, dates in SEGMENTS.items()}
    with pytest.raises(DataError, match="universe few has no rows"):
        panel_of(make_config(segments=never), bars, None)
    with pytest.raises(DataError, match="no sample with a label"):
        panel_of(make_config(label="Log(0 - $close)"), bars, None)
    with pytest.raises(DataError, match="every label is NaN"):
        panel_of(make_config(label="Log(0 - $close)", recipe="qlib", learn=[]), bars, None)
    compute_features(market_frame(), "alpha158", COLUMNS).to_parquet(tmp_path / "t.parquet")
    table = open_features(str(tmp_path / "t.parquet"))
    with pytest.raises(DataError, match=r"no column KMID.*feature_set"):
        panel_of(make_config(features="t", feature_set={"type": "alpha158"}), bars, table)
    with pytest.raises(DataError, match=r"no column nothing, which data\.label names"):
        panel_of(make_config(features="t", label="nothing"), bars, table)
    with pytest.raises(ConfigError, match=r"data\.universe"):
        panel_of(make_config(features="t"), None, table)
    with pytest.raises(DataError, match=r"train\.sample_weight\.column"):
        panel_of(
            make_config(train={"sample_weight": {"type": "column", "column": "x"}}),
            bars,
            None,
        )


def test_fingerprint_is_of_content(bars: Bars, tmp_path: Path) -> None:
    elsewhere = write_bars(tmp_path / "elsewhere", market_frame())
    one = panel_of(make_config(), bars, None).fingerprint
    assert panel_of(make_config(bars="elsewhere"), open_bars(elsewhere.uri), None).fingerprint == one
    assert panel_of(make_config(embargo=1), bars, None).fingerprint != one
