"""Nothing at or before a date depends on a bar after it. Each check fails if one value leaks back."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from raybench.config import Config
from raybench.config.panel_spec import PanelSpec
from raybench.feature_sets import alpha158, alpha360
from raybench.market.bars import Bars
from raybench.panel import Panel
from raybench.panel.build import scoring_panel
from tests.panel.panel_market import make_config, market_frame, panel_of, write_bars

NOW = pd.Timestamp("2020-11-18")
FEATURE = {"fields_group": "feature"}
PER_DATE = [
    {"class": "ProcessInf"},
    {"class": "RobustZScoreNorm", "kwargs": FEATURE},
    {"class": "CSZScoreNorm", "kwargs": FEATURE},
    {"class": "CSZFillna", "kwargs": FEATURE},
    {"class": "Fillna", "kwargs": FEATURE},
]
RANKS = [{"class": "CSRankNorm", "kwargs": FEATURE}, {"class": "Fillna", "kwargs": FEATURE}]


def changed_after(bars: pd.DataFrame, now: pd.Timestamp) -> pd.DataFrame:
    """Every later bar is another one, and some are gone."""
    rng = np.random.default_rng(8)
    later = (bars["datetime"] > now).to_numpy()
    fields = ["open", "high", "low", "close", "vwap", "volume"]
    bars = bars.copy()
    bars.loc[later, fields] *= rng.uniform(0.3, 3, (later.sum(), len(fields)))
    return bars[~later | (rng.random(len(bars)) > 0.2)]


@pytest.fixture(scope="module")
def worlds(tmp_path_factory: pytest.TempPathFactory) -> tuple[Bars, Bars]:
    folder = tmp_path_factory.mktemp("worlds")
    return write_bars(folder / "one", market_frame()), write_bars(folder / "two", changed_after(market_frame(), NOW))


def known(panel: Panel, segment: str, until: pd.Timestamp) -> dict[str, Any]:
    """Samples up to a date and their windows."""
    part = panel.segments[segment]
    samples = part.samples.take(panel.dates[part.samples.date_S] <= until.to_datetime64())
    return {
        "dates": panel.dates[samples.date_S],
        "instruments": np.array(panel.instruments)[samples.instrument_S],
        "windows": part.source.gather(torch.from_numpy(samples.row_S)).numpy(),
        "labels": samples.label_S[panel.dates[samples.date_S] <= (until - pd.offsets.BDay(2)).to_datetime64()],
    }


CONFIGS = {
    "alpha158": make_config(),
    "alpha158 qlib": make_config(recipe="qlib"),
    "alpha158 per date": make_config(infer=PER_DATE),
    "alpha158 ranks": make_config(infer=RANKS),
    "alpha360": make_config(feature_set={"type": "alpha360"}),
    "alpha360 per date": make_config(feature_set={"type": "alpha360"}, infer=PER_DATE),
}


@pytest.mark.parametrize("name", CONFIGS)
def test_the_past_does_not_know(worlds: tuple[Bars, Bars], name: str) -> None:
    one, two = (panel_of(CONFIGS[name], bars, None) for bars in worlds)
    assert one.processors.to_json() == two.processors.to_json()
    for segment in ("train", "valid", "test"):
        before, after = (known(panel, segment, NOW) for panel in (one, two))
        assert len(before["dates"]) > 50
        for what, values in before.items():
            np.testing.assert_array_equal(values, after[what], err_msg=f"{segment} {what}")
    late = [known(panel, "test", NOW + pd.offsets.BDay(3))["windows"][-5:] for panel in (one, two)]
    assert not np.array_equal(*late), "the change must be seen once it has happened"


@pytest.mark.parametrize("name", CONFIGS)
def test_a_score_needs_nothing_later(worlds: tuple[Bars, Bars], name: str) -> None:
    config: Config = CONFIGS[name]
    fitted = panel_of(config, worlds[0], None).processors
    day = np.datetime64(NOW, "D")
    one, two = (scoring_panel(PanelSpec.of(config), bars, None, fitted, day, day) for bars in worlds)
    before, after = (known(panel, "score", NOW) for panel in (one, two))
    np.testing.assert_array_equal(before["windows"], after["windows"])
    np.testing.assert_array_equal(before["instruments"], after["instruments"])


@pytest.mark.parametrize("name", ["alpha158", "alpha360"])
def test_a_leak_of_one_day_would_be_found(
    worlds: tuple[Bars, Bars], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    compute, raw = alpha158.compute, alpha360.raw
    monkeypatch.setattr(alpha158, "compute", lambda block, columns: np.roll(compute(block, columns), -1, axis=0))
    monkeypatch.setattr(alpha360, "raw", lambda block: np.roll(raw(block), -1, axis=0))
    with pytest.raises(AssertionError):
        test_the_past_does_not_know(worlds, name)
