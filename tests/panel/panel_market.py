"""A small market for panel tests: gaps, suspended days, a universe that changes, infinities."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from raybench.config import Config, load_config
from raybench.config.panel_spec import PanelSpec
from raybench.feature_sets.table import FeatureTable
from raybench.market.bars import BarBlock, Bars, open_bars
from raybench.market.importing.job import import_bars
from raybench.market.sources import memory_source
from raybench.market.universe import universe_of_frame
from raybench.panel import Panel
from raybench.panel.build import build_panel

EVERY = ("train", "valid", "test")
"""A training learns from the first two."""

DATES = pd.bdate_range("2020-01-01", periods=260)
SEGMENTS = {
    "train": ["2020-04-01", "2020-08-31"],
    "valid": ["2020-09-01", "2020-10-30"],
    "test": ["2020-11-02", "2020-12-20"],
}
COLUMNS = ["KLEN", "KSFT", "ROC5", "STD5", "CORR10", "VSTD5"]


def market_frame(instruments: int = 9, seed: int = 5, dates: pd.DatetimeIndex = DATES) -> pd.DataFrame:
    """Bars by (instrument, datetime); some dates are absent, one instrument comes late."""
    rng = np.random.default_rng(seed)
    parts = []
    for i in range(instruments):
        close = 10 * np.exp(np.cumsum(rng.normal(0, 0.02, len(dates))))
        spread = np.abs(rng.normal(0, 0.01, (3, len(dates)))) * close
        part = pd.DataFrame(
            {
                "instrument": f"I{i:02d}",
                "datetime": dates,
                "open": close + spread[0] - spread[1],
                "high": close + spread[0],
                "low": close - spread[1],
                "close": close,
                "vwap": close + (spread[0] - spread[1]) / 2,
                "volume": np.round(rng.lognormal(10, 1, len(dates))),
            }
        )
        keep = rng.random(len(dates)) > 0.06
        keep[: 150 if i == 3 else 0] = False
        parts.append(part[keep])
    return pd.concat(parts, ignore_index=True).astype({"instrument": str})


def with_zeros(bars: pd.DataFrame) -> pd.DataFrame:
    """The same with a few closes and volumes of zero, whose ratios are infinite."""
    bars = bars.copy()
    rows = np.random.default_rng(0).choice(len(bars), 25, replace=False)
    bars.loc[rows[:10], "close"] = 0.0
    bars.loc[rows[10:], "volume"] = 0.0
    return bars


def universe_spans() -> pd.DataFrame:
    """Members with a gap, a late start and an early end; I08 is never one."""
    spans = [(f"I{i:02d}", "2020-01-01", "2021-12-31") for i in (0, 3, 4, 5, 6)]
    spans += [("I01", "2020-03-01", "2020-06-10"), ("I01", "2020-07-01", "2021-12-31")]
    spans += [("I02", "2020-05-05", "2020-11-20"), ("I07", "2020-08-20", "2021-12-31")]
    return pd.DataFrame(spans, columns=["instrument", "start", "end"])


def write_bars(path: Path, bars: pd.DataFrame) -> Bars:
    """A bars dataset with the universe ``few``."""
    few = universe_of_frame("few", universe_spans())
    import_bars(memory_source(BarBlock.from_frame(bars), universes={"few": few}), str(path))
    return open_bars(str(path))


def make_config(
    *,
    feature_set: dict[str, Any] | None = None,
    infer: Sequence[Any] | None = None,
    learn: Sequence[Any] | None = None,
    recipe: str = "raybench",
    train: dict[str, Any] | None = None,
    **data: Any,
) -> Config:
    """A configuration over the small market."""
    data = {
        "bars": "bars",
        "universe": "few",
        "feature_set": feature_set or {"type": "alpha158", "columns": COLUMNS},
        "segments": SEGMENTS,
        **data,
    }
    if infer is not None or learn is not None:
        data["processors"] = {"infer": infer or [], "learn": [{"class": "DropnaLabel"}] if learn is None else learn}
    return load_config({"data": data, "model": {"type": "gru"}, "recipe": recipe, "train": train or {}})


def panel_of(config: Config, bars: Bars | None, features: FeatureTable | None = None, **options: Any) -> Panel:
    """The panel of all segments, as it is held against Qlib's."""
    return build_panel(PanelSpec.of(config), bars, features, **{"segments": EVERY, **options})
