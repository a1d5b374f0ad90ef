"""A panel is as large as was said before it was made, by whoever says it, and is on a device once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

from raybench.cli.commands.check import describe
from raybench.config import Config
from raybench.config.panel_spec import PanelSpec
from raybench.feature_sets.build import compute_features
from raybench.feature_sets.table import FeatureTable, open_features
from raybench.feeds.feeds import moved
from raybench.market.bars import Bars
from raybench.panel import pack, unpack
from raybench.panel.build import build_panel
from raybench.panel.size import panel_bytes
from raybench.storage.arrays import Mover
from tests.panel.panel_market import COLUMNS, make_config, market_frame, write_bars

FILL = {"class": "Fillna", "kwargs": {"fields_group": "feature"}}
RANK = {"class": "CSRankNorm", "kwargs": {"fields_group": "feature"}}
LABEL = [{"class": "DropnaLabel"}]
KINDS: dict[str, dict[str, Any]] = {
    "alpha158": {"feature_set": {"type": "alpha158"}},
    "alpha158, columns": {"feature_set": {"type": "alpha158", "columns": COLUMNS}},
    "alpha158, qlib": {"feature_set": {"type": "alpha158"}, "recipe": "qlib"},
    "alpha158, qlib, features learnt": {
        "feature_set": {"type": "alpha158"}, "recipe": "qlib", "infer": [FILL], "learn": [*LABEL, FILL]
    },
    "alpha360": {"feature_set": {"type": "alpha360"}},
    "alpha360, all": {"feature_set": {"type": "alpha360"}, "universe": "all"},
    "alpha360, ranked": {"feature_set": {"type": "alpha360"}, "infer": [RANK, FILL]},
    "alpha360 of a table": {"feature_set": {"type": "alpha360"}, "features": "alpha360", "universe": "all"},
    "a table": {"feature_set": {"type": "alpha158"}, "features": "alpha158", "universe": "all"},
    "second": {
        "feature_set": {"type": "alpha158"},
        "second": {"bars": "BARS", "feature_set": {"type": "alpha158", "columns": COLUMNS}, "step_len": 5},
    },
}  # fmt: skip


@pytest.fixture(scope="module")
def bars(tmp_path_factory: pytest.TempPathFactory) -> Bars:
    return write_bars(tmp_path_factory.mktemp("size") / "bars", market_frame())


@pytest.fixture(scope="module")
def made(bars: Bars, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], tuple[Config, FeatureTable | None]]:
    tables = tmp_path_factory.mktemp("tables")

    def make(kind: str) -> tuple[Config, FeatureTable | None]:
        keys = dict(KINDS[kind])
        table = None
        if name := keys.get("features"):
            path = Path(tables / name).with_suffix(".parquet")
            compute_features(market_frame(), set=name).to_parquet(path)
            keys["features"], table = str(path), open_features(str(path))
        if "second" in keys:
            keys["second"] = {**keys["second"], "bars": bars.uri}
        return make_config(**keys), table

    return make


@pytest.mark.parametrize("kind", KINDS)
def test_the_size_is_known_before(
    bars: Bars, made: Callable[[str], tuple[Config, FeatureTable | None]], kind: str
) -> None:
    config, table = made(kind)
    said = panel_bytes(PanelSpec.of(config), bars, table)
    real = build_panel(PanelSpec.of(config), bars, table).nbytes
    assert said == pytest.approx(real, rel=0.2)


DEEP = {
    "segments": {
        "train": ["2020-01-01", "2021-12-31"],
        "valid": ["2022-01-01", "2023-12-29"],
        "test": ["2024-01-02", "2024-06-28"],
    },
    "universe": "all",
}


@pytest.fixture(scope="module")
def deep(tmp_path_factory: pytest.TempPathFactory) -> Bars:
    """Four years, of which the rows before the first windows are few."""
    return write_bars(
        tmp_path_factory.mktemp("deep") / "bars", market_frame(dates=pd.bdate_range("2020-01-01", "2023-12-29"))
    )


FROM_ONE_DATASET = [kind for kind, keys in KINDS.items() if not keys.keys() & {"features", "second"}]


@pytest.mark.parametrize("kind", FROM_ONE_DATASET)
def test_check_says_what_a_row_takes(deep: Bars, kind: str) -> None:
    config = make_config(**{**KINDS[kind], **DEEP})
    real = build_panel(PanelSpec.of(config), deep, None)
    assert describe(config)["panel_row_bytes"] * deep.block().rows == pytest.approx(real.nbytes, rel=0.2)


@pytest.mark.parametrize("kind", ["alpha158", "alpha360"])
def test_check_says_what_bars_take_while_their_instrument_is_no_member(deep: Bars, kind: str) -> None:
    segments = {**DEEP["segments"], "train": ["2020-01-01", "2020-12-31"], "valid": ["2021-01-01", "2021-12-31"]}
    config = make_config(**{**KINDS[kind], "segments": segments})
    few = deep.universe("few")
    bars = deep.block(few.instruments).to_frame().query("datetime < '2022'")
    inside = sum(int(few.contains(name, part.to_numpy("datetime64[us]")).sum()) for name, part in _stamps(bars))
    said = describe(config)
    total = said["panel_row_bytes"] * inside + said["panel_other_row_bytes"] * (len(bars) - inside)
    assert len(bars) > 1.15 * inside
    assert total == pytest.approx(build_panel(PanelSpec.of(config), deep, None).nbytes, rel=0.2)


def _stamps(bars: pd.DataFrame) -> Iterator[tuple[str, pd.Series]]:
    for name, part in bars.groupby("instrument"):
        yield str(name), part["datetime"]


@pytest.mark.parametrize("kind", ["alpha158", "alpha360", "alpha360 of a table", "second"])
def test_segments_that_share_a_source_share_it_elsewhere(
    bars: Bars, made: Callable[[str], tuple[Config, FeatureTable | None]], kind: str
) -> None:
    config, table = made(kind)
    panel = unpack(*pack(build_panel(PanelSpec.of(config), bars, table)))
    sources = {id(segment.source) for segment in panel.segments.values()}
    seconds = {id(segment.second) for segment in panel.segments.values()}
    assert (len(sources), len(seconds)) == (1, 1)


@pytest.mark.parametrize("recipe", ["raybench", "qlib"])
def test_each_buffer_is_brought_to_a_device_once(bars: Bars, monkeypatch: pytest.MonkeyPatch, recipe: str) -> None:
    """Recipe qlib has a source for each of two stages, whose features are the same memory."""
    config = make_config(feature_set={"type": "alpha158", "columns": COLUMNS}, recipe=recipe)
    panel = unpack(*pack(build_panel(PanelSpec.of(config), bars, None)))
    brought: list[int] = []
    to = torch.Tensor.to

    def spy(tensor: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        brought.append(tensor.data_ptr())
        return to(tensor, *args, **kwargs)

    monkeypatch.setattr(torch.Tensor, "to", spy)
    segments = [panel.segments[name] for name in ("train", "valid")]
    there = moved(segments, torch.device("meta"))
    assert len(brought) == len(set(brought)) > 0
    assert len({id(segment.source.feature_RF) for segment in there}) == 1


def test_a_mover_tells_views_apart() -> None:
    whole = torch.arange(6.0)
    move = Mover("cpu")
    assert move(whole) is move(whole.view(6))
    assert move(whole[:3]).shape == (3,)
    assert move(whole.view(2, 3)).shape == (2, 3)
