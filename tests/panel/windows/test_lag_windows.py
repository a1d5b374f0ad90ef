"""Alpha360 seen through six fields equals its flat table processed by pandas."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from raybench.config.data.alpha_names import ALPHA360_NAMES
from raybench.config.data.label import parse_label
from raybench.config.data.spec import DEFAULT_LABEL
from raybench.config.panel_spec import PanelSpec
from raybench.feature_sets import alpha360, labels
from raybench.feature_sets.build import compute_features
from raybench.feature_sets.table import open_features
from raybench.market.bars import Bars
from raybench.panel import Panel, pack, unpack
from raybench.panel.build import scoring_panel
from raybench.panel.windows import FlatWindows, LagWindows
from tests.panel.panel_market import (
    SEGMENTS,
    make_config,
    market_frame,
    panel_of,
    universe_spans,
    with_zeros,
    write_bars,
)

pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")  # numpy on columns without a value

NAMES = list(ALPHA360_NAMES)
ALPHA360 = {"type": "alpha360"}
TRAIN = slice(*SEGMENTS["train"])
Table = pd.DataFrame
Step = Callable[[Table], Table]


@pytest.fixture(scope="module")
def bars(tmp_path_factory: pytest.TempPathFactory) -> Bars:
    return write_bars(tmp_path_factory.mktemp("few") / "bars", with_zeros(market_frame()))


@pytest.fixture(scope="module")
def wide(bars: Bars) -> Table:
    """The flat table and the label, of the universe from train to test, by (datetime, instrument)."""
    block = bars.block()
    table = pd.DataFrame(alpha360.compute(block), columns=NAMES)
    table["LABEL0"] = labels.compute(block, parse_label(DEFAULT_LABEL))
    name_R = np.repeat(block.instruments, np.diff(block.start_N1))
    keys = [pd.DatetimeIndex(block.datetime_R), name_R]
    table.index = pd.MultiIndex.from_arrays(keys, names=["datetime", "instrument"])
    member = np.zeros(len(table), bool)
    for span in universe_spans().itertuples():
        date = table.index.get_level_values(0)
        member |= (name_R == span.instrument) & (date >= span.start) & (date <= span.end)
    table = table[member].sort_index()
    return table.loc[SEGMENTS["train"][0] : SEGMENTS["test"][1]]


def by_date(function: Callable[[np.ndarray], np.ndarray], columns: list[str]) -> Step:
    """Apply to the values of each date [n, C] (pandas' own transform takes minutes over 360 columns)."""

    def apply(t: Table) -> Table:
        x = t[columns].to_numpy(copy=True)
        begins = np.flatnonzero(np.r_[True, np.diff(t.index.codes[0]) != 0])
        parts = [function(part) for part in np.split(x, begins[1:])]
        return t.assign(**pd.DataFrame(np.concatenate(parts), index=t.index, columns=columns))

    return apply


def mean(x: np.ndarray) -> np.ndarray:
    """Taken in float64 and rounded once, as it is applied."""
    return np.nanmean(x, axis=0, dtype=np.float64).astype(np.float32)


def no_inf(x: np.ndarray) -> np.ndarray:
    return np.where(np.isinf(x), mean(np.where(np.isinf(x), np.float32(np.nan), x)), x)


def fill_mean(x: np.ndarray) -> np.ndarray:
    return np.where(np.isnan(x), mean(x), x)


def zscore(x: np.ndarray) -> np.ndarray:
    away = (x - mean(x)).astype(np.float64)
    std = np.sqrt(np.nansum(away**2, axis=0) / (np.isfinite(x).sum(axis=0) - 1)).astype(np.float32)
    return (x - mean(x)) / std


def robust_date(x: np.ndarray) -> np.ndarray:
    away = x - np.nanmedian(x, axis=0)
    return (away / np.nanmedian(np.abs(away), axis=0) / np.float32(1.4826)).clip(-3, 3)


def exact(statistic: pd.Series) -> pd.Series:
    return statistic.astype(np.float32)


def fitted_zscore(columns: list[str]) -> Step:
    def apply(t: Table) -> Table:
        fit = t.loc[TRAIN, columns].astype(np.float64)
        mean, std = fit.mean(), fit.std(ddof=0)
        return t.assign(**(t[columns] - exact(mean.where(std != 0, 0))) / exact(std.where(std != 0, 1)))

    return apply


def fitted_robust(t: Table) -> Table:
    fit = t.loc[TRAIN, NAMES]
    middle = fit.median()
    return t.assign(**((t[NAMES] - middle) / (((fit - middle).abs().median() + 1e-12) * 1.4826)).clip(-3, 3))


def fitted_minmax(t: Table) -> Table:
    low, high = t.loc[TRAIN, NAMES].min(), t.loc[TRAIN, NAMES].max()
    return t.assign(**(t[NAMES] - low.where(low != high, 0)) / (high - low).where(low != high, 1))


def fill(columns: list[str]) -> Step:
    return lambda t: t.assign(**t[columns].fillna(0))


FEATURE = {"fields_group": "feature"}
BOTH = [*NAMES, "LABEL0"]
INF = {"class": "ProcessInf"}
FILL = {"class": "Fillna", "kwargs": FEATURE}
no_infinities = by_date(no_inf, BOTH)

VARIANTS: dict[str, tuple[list[Any], list[Step]]] = {
    "none": ([], []),
    "benchmark": ([{"class": "RobustZScoreNorm", "kwargs": FEATURE}, FILL], [fitted_robust, fill(NAMES)]),
    "handler default": (
        [INF, {"class": "ZScoreNorm"}, {"class": "Fillna"}],
        [no_infinities, fitted_zscore(BOTH), fill(BOTH)],
    ),
    "min-max": ([INF, {"class": "MinMaxNorm", "kwargs": FEATURE}], [no_infinities, fitted_minmax]),
    "tanh": ([{"class": "TanhProcess"}, FILL], [lambda t: t.assign(**np.tanh(t[NAMES] - 1)), fill(NAMES)]),
    "per date": (
        [INF, {"class": "CSZFillna", "kwargs": FEATURE}, {"class": "CSZScoreNorm", "kwargs": FEATURE}],
        [no_infinities, by_date(fill_mean, NAMES), by_date(zscore, NAMES)],
    ),
    "per date after fitted": (
        [
            INF,
            {"class": "ZScoreNorm", "kwargs": FEATURE},
            {"class": "CSZScoreNorm", "kwargs": {**FEATURE, "method": "robust"}},
            FILL,
        ],
        [no_infinities, fitted_zscore(NAMES), by_date(robust_date, NAMES), fill(NAMES)],
    ),
    "ranks": (
        [INF, {"class": "CSRankNorm", "kwargs": FEATURE}, FILL],
        [
            no_infinities,
            lambda t: t.assign(**(t.groupby("datetime")[NAMES].rank(pct=True) - 0.5) * 3.46),
            fill(NAMES),
        ],
    ),
}
LEARN = [{"class": "DropnaLabel"}, {"class": "CSZScoreNorm", "kwargs": {"fields_group": "label"}}]


def assert_equal(panel: Panel, segment: str, table: Table) -> None:
    """Windows and labels of a segment are the rows of ``table`` within its dates."""
    part = panel.segments[segment]
    samples = part.samples
    table = table.loc[slice(*SEGMENTS.get(segment, (None, None)))]
    names = np.array(panel.instruments)[samples.instrument_S]
    index = pd.MultiIndex.from_arrays([panel.dates[samples.date_S], names])
    assert index.tolist() == table.index.tolist()
    x_BWF = part.source.gather(torch.from_numpy(samples.row_S)).numpy()
    flat = x_BWF.transpose(0, 2, 1).reshape(len(samples), -1)
    close = np.isclose(flat, table[NAMES], rtol=1e-5, atol=1e-5, equal_nan=True)
    worst = np.nanmax(np.abs(flat - table[NAMES].to_numpy()), initial=0, where=~close)
    assert close.all(), f"{(~close).sum()} of {close.size} differ, by up to {worst}"
    np.testing.assert_allclose(samples.label_S, table["LABEL0"], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", VARIANTS)
def test_equals_the_flat_table(bars: Bars, wide: Table, name: str) -> None:
    infer, steps = VARIANTS[name]
    panel = panel_of(make_config(feature_set=ALPHA360, infer=infer, learn=LEARN), bars, None)
    assert isinstance(panel.segments["train"].source, FlatWindows if name == "ranks" else LagWindows)
    table = wide
    for step in steps:
        table = step(table)
    learned = by_date(zscore, ["LABEL0"])(table.dropna(subset=["LABEL0"])).dropna(subset=["LABEL0"])
    assert_equal(panel, "train", learned)
    assert_equal(panel, "valid", learned)
    assert_equal(panel, "test", table)


def test_learn_processors_on_features_under_recipe_qlib(bars: Bars, wide: Table) -> None:
    learn = [{"class": "DropnaLabel"}, {"class": "CSZScoreNorm"}]
    config = make_config(feature_set=ALPHA360, infer=[INF], learn=learn, recipe="qlib")
    panel = panel_of(config, bars, None)
    table = no_infinities(wide)
    learned = by_date(zscore, BOTH)(table.dropna(subset=["LABEL0"]))
    assert_equal(panel, "train", learned)
    assert_equal(panel, "test", table)


def test_the_same_however_it_is_spread_and_carried(bars: Bars, tmp_path: Path) -> None:
    infer, _ = VARIANTS["per date after fitted"]
    config = make_config(feature_set=ALPHA360, infer=infer, learn=LEARN)
    panel = panel_of(config, bars, None)
    with ThreadPoolExecutor(2) as pool:
        spread = panel_of(config, bars, None, run=pool.map)
    assert spread.processors.to_json() == panel.processors.to_json()
    spec, arrays = pack(panel)
    for array in arrays.values():
        array.flags.writeable = False
    rows = torch.tensor(panel.segments["valid"].samples.row_S)
    want = panel.segments["valid"].source.gather(rows)
    for other in (spread, unpack(spec, arrays)):
        assert torch.equal(other.segments["valid"].source.gather(rows), want)
    start, end = np.datetime64("2020-11-16"), np.datetime64("2020-11-18")
    scored = scoring_panel(PanelSpec.of(config), bars, None, panel.processors, start, end).segments["score"]
    test = panel.segments["test"]
    date_S = panel.dates[test.samples.date_S]
    at = np.flatnonzero((date_S >= start) & (date_S <= end))
    torch.testing.assert_close(
        scored.source.gather(torch.tensor(scored.samples.row_S)),
        test.source.gather(torch.tensor(test.samples.row_S[at])),
        rtol=0,
        atol=0,
    )


@pytest.mark.filterwarnings("ignore:.*with a price that is zero or below")
def test_a_wide_table_is_taken_as_it_is(bars: Bars, tmp_path: Path) -> None:
    compute_features(bars.block().to_frame(), "alpha360").to_parquet(tmp_path / "wide.parquet", index=False)
    opened = open_features(str(tmp_path / "wide.parquet"))
    infer, _ = VARIANTS["handler default"]
    panel = panel_of(
        make_config(feature_set=ALPHA360, infer=infer, learn=LEARN, features="wide"),
        bars,
        opened,
    )
    want = panel_of(make_config(feature_set=ALPHA360, infer=infer, learn=LEARN), bars, None)
    assert isinstance(panel.segments["train"].source, FlatWindows)
    for name, part in panel.segments.items():
        other = want.segments[name]
        np.testing.assert_array_equal(part.samples.label_S, other.samples.label_S)
        got = part.source.gather(torch.from_numpy(part.samples.row_S))
        assert torch.equal(got, other.source.gather(torch.from_numpy(other.samples.row_S)))
