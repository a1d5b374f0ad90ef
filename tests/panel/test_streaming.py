"""Blocks of whole instruments, one after the other, hold exactly the samples and windows of the resident panel."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from raybench.config import Config
from raybench.config.panel_spec import PanelSpec
from raybench.errors import ConfigError, DataError
from raybench.feature_sets.build import compute_features
from raybench.feature_sets.table import FeatureTable, open_features
from raybench.market.bars import Bars
from raybench.panel import Segment
from raybench.panel.build import build_panel
from raybench.panel.streaming import StreamPlan, plan_stream
from tests.panel.panel_market import COLUMNS, make_config, market_frame, write_bars

FEATURE = {"fields_group": "feature"}
PER_DATE = [
    {"class": "ProcessInf"},
    {"class": "ZScoreNorm"},
    {"class": "CSZScoreNorm", "kwargs": FEATURE},
    {"class": "CSZFillna", "kwargs": FEATURE},
]
DECAY = {"sample_weight": {"type": "time_decay", "half_life": 20}}
CONFIGS = {
    "alpha158": make_config(embargo=1, train=DECAY),
    "alpha158 qlib": make_config(recipe="qlib"),
    "alpha158 per date": make_config(
        infer=[{"class": "FilterCol", "kwargs": {"col_list": COLUMNS[1:4]}}, *PER_DATE],
        train={"sample_weight": {"type": "column", "column": "volume"}},
    ),
    "alpha360": make_config(feature_set={"type": "alpha360"}),
    "alpha360 per date": make_config(feature_set={"type": "alpha360"}, infer=PER_DATE),
    "alpha360 as it is": make_config(feature_set={"type": "alpha360"}, infer=[]),
    "table": make_config(features="table", feature_set={"type": "table"}, universe="all", bars=None),
    "table of a universe": make_config(features="table", feature_set={"type": "table", "columns": COLUMNS[:3]}),
}


@pytest.fixture(scope="module")
def bars(tmp_path_factory: pytest.TempPathFactory) -> Bars:
    return write_bars(tmp_path_factory.mktemp("few") / "bars", market_frame())


@pytest.fixture(scope="module")
def table(bars: Bars, tmp_path_factory: pytest.TempPathFactory) -> FeatureTable:
    path = tmp_path_factory.mktemp("table") / "table.parquet"
    compute_features(bars.block().to_frame(), "alpha158", COLUMNS).to_parquet(path, index=False)
    return open_features(str(path))


def sources(config: Config, bars: Bars, table: FeatureTable) -> tuple[Bars | None, FeatureTable | None]:
    return bars if config.data.bars else None, table if config.data.features else None


def rows_of(segment: Segment) -> dict[str, np.ndarray]:
    samples = segment.samples
    found = {name: array for name, array in samples.arrays().items() if name != "row_S"}
    found["window"] = segment.source.gather(torch.from_numpy(samples.row_S)).numpy()
    return found


def streamed(plan: StreamPlan, name: str) -> dict[str, np.ndarray]:
    """All samples of a segment, block by block, as a worker gets them."""
    view = pickle.loads(pickle.dumps(plan.view))
    parts = [rows_of(view.segments(plan.read(group))[name]) for group in plan.groups]
    return {what: np.concatenate([part[what] for part in parts]) for what in parts[0]}


@pytest.mark.parametrize("name", CONFIGS)
def test_union_of_blocks_is_the_panel(bars: Bars, table: FeatureTable, name: str) -> None:
    config = CONFIGS[name]
    given = sources(config, bars, table)
    panel = build_panel(PanelSpec.of(config), *given)
    plan = plan_stream(PanelSpec.of(config), *given, block_rows=300)
    assert len(plan.groups) > 3
    assert plan.counts == panel.counts
    assert plan.processors.to_json() == panel.processors.to_json()
    assert plan.fingerprint == panel.fingerprint
    assert plan.warnings == panel.warnings
    assert plan.filled is not None
    assert panel.filled is not None
    for what in ("names", "days", "rows_D", "there_D", "count_DK"):
        np.testing.assert_array_equal(getattr(plan.filled, what), getattr(panel.filled, what), err_msg=what)
    for segment in panel.segments:
        got, want = streamed(plan, segment), rows_of(panel.segments[segment])
        order_got, order_want = (np.lexsort((x["date_S"], x["instrument_S"])) for x in (got, want))
        assert set(got) == set(want)
        for what in want:
            np.testing.assert_array_equal(got[what][order_got], want[what][order_want], err_msg=f"{segment} {what}")
    again = plan_stream(PanelSpec.of(config), *given, processors=panel.processors)
    assert again.processors.to_json() == panel.processors.to_json()
    windows = [np.sort(streamed(p, "valid")["window"], axis=None) for p in (again, plan)]
    np.testing.assert_array_equal(*windows)


def test_what_cannot_be_streamed_is_said(bars: Bars, tmp_path: Path) -> None:
    for infer in ([{"class": "CSRankNorm"}], [{"class": "DropnaProcessor", "kwargs": FEATURE}]):
        with pytest.raises(ConfigError, match=r"data\.residency"):
            plan_stream(PanelSpec.of(make_config(infer=infer)), bars, None)
    learn = [{"class": "DropnaLabel"}, {"class": "CSZScoreNorm"}]
    with pytest.raises(ConfigError, match=r"data\.residency"):
        plan_stream(PanelSpec.of(make_config(infer=[], learn=learn, recipe="qlib")), bars, None)


def test_a_block_that_was_cut_is_found_out(bars: Bars) -> None:
    plan = plan_stream(PanelSpec.of(make_config()), bars, None)
    block = plan.read(plan.groups[0])
    cut = {name: column[:-1] for name, column in block.items()}
    with pytest.raises(DataError, match="windows need it whole"):
        plan.view.segments(cut)
