"""A panel is as large as was said before it was made, and is on a device once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from raybench.config import Config
from raybench.data.bars import Bars
from raybench.data.feature_table import FeatureTable, open_features
from raybench.data.features import features
from raybench.data.panel import pack, unpack
from raybench.data.panel.build import build_panel
from raybench.data.panel.size import panel_bytes
from raybench.data.windows import Mover
from raybench.train.feeds import moved
from tests.data.panel_market import COLUMNS, make_config, market_frame, write_bars

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
            features(market_frame(), set=name).to_parquet(path)
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
    said = panel_bytes(config, bars, table)
    real = build_panel(config, bars, table).nbytes
    assert 0.8 < said / real < 1.3, f"said {said}, is {real}"


@pytest.mark.parametrize("kind", ["alpha158", "alpha360", "alpha360 of a table", "second"])
def test_segments_that_share_a_source_share_it_elsewhere(
    bars: Bars, made: Callable[[str], tuple[Config, FeatureTable | None]], kind: str
) -> None:
    config, table = made(kind)
    panel = unpack(*pack(build_panel(config, bars, table)))
    sources = {id(segment.source) for segment in panel.segments.values()}
    seconds = {id(segment.second) for segment in panel.segments.values()}
    assert (len(sources), len(seconds)) == (1, 1)


@pytest.mark.parametrize("recipe", ["raybench", "qlib"])
def test_each_buffer_is_brought_to_a_device_once(bars: Bars, monkeypatch: pytest.MonkeyPatch, recipe: str) -> None:
    """Recipe qlib has a source for each of two stages, whose features are the same memory."""
    config = make_config(feature_set={"type": "alpha158", "columns": COLUMNS}, recipe=recipe)
    panel = unpack(*pack(build_panel(config, bars, None)))
    brought: list[int] = []
    to = torch.Tensor.to

    def spy(tensor: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        brought.append(tensor.data_ptr())
        return to(tensor, *args, **kwargs)

    monkeypatch.setattr(torch.Tensor, "to", spy)
    segments = [panel.segments[name] for name in ("train", "valid", "test")]
    there = moved(segments, torch.device("meta"))
    assert len(brought) == len(set(brought)) > 0
    assert len({id(segment.source.feature_RF) for segment in there}) == 1


def test_a_mover_tells_views_apart() -> None:
    whole = torch.arange(6.0)
    move = Mover("cpu")
    assert move(whole) is move(whole.view(6))
    assert move(whole[:3]).shape == (3,)
    assert move(whole.view(2, 3)).shape == (2, 3)
