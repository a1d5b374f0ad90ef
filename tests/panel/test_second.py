"""The second window: which rows it holds, by a slow and simple rule; nothing later; what has none; packing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from raybench.config import Config
from raybench.config.panel_spec import PanelSpec
from raybench.errors import DataError
from raybench.feature_sets.build import compute_features
from raybench.feeds.batches import ResidentEvaluation
from raybench.feeds.reader import SampleReader
from raybench.feeds.world import SOLO
from raybench.market.bars import BarBlock, Bars, open_bars
from raybench.market.importing.job import import_bars
from raybench.market.sources import memory_source
from raybench.panel import Panel, pack, second, unpack
from raybench.panel.build import build_panel, fingerprint, scoring_panel
from tests.feature_sets.test_lookahead import changed_after
from tests.notes import Notes
from tests.panel.panel_market import DATES, make_config, market_frame, panel_of, write_bars

HOURS = pd.to_timedelta(["10:30:00", "13:00:00", "15:00:00"])
OWN = ["KLEN", "ROC5", "STD5", "CORR5"]
V = 4
DAY = pd.Timedelta(days=1)


def hourly_frame() -> pd.DataFrame:
    """Three bars a day from April on, with gaps; one lists late, one ends early, one is no stock of the daily bars."""
    rng = np.random.default_rng(7)
    days = DATES[DATES >= "2020-04-06"]
    stamps = pd.DatetimeIndex([day + hour for day in days for hour in HOURS])
    stamps = stamps[~((stamps.normalize() == days[140]) & (stamps.hour > 11))]  # a short day
    parts = []
    for name in ("I00", "I01", "I02", "I03", "I04", "I05", "I06", "Z9"):
        close = 10 * np.exp(np.cumsum(rng.normal(0, 0.01, len(stamps))))
        spread = np.abs(rng.normal(0, 0.005, (3, len(stamps)))) * close
        part = pd.DataFrame({"instrument": name, "datetime": stamps, "open": close + spread[0] - spread[1]})
        part = part.assign(high=close + spread[0], low=close - spread[1], close=close, vwap=close)
        part["volume"] = np.round(rng.lognormal(8, 1, len(stamps)))
        keep = rng.random(len(stamps)) > 0.1
        keep &= (stamps >= "2020-09-15 13:00") if name == "I03" else True
        keep &= (stamps <= "2020-11-10 10:30") if name == "I05" else True
        parts.append(part[keep])
    return pd.concat(parts, ignore_index=True).astype({"instrument": str})


def import_frame(frame: pd.DataFrame, to: Path) -> Bars:
    import_bars(memory_source(BarBlock.from_frame(frame)), str(to))
    return open_bars(str(to))


@pytest.fixture(scope="module")
def daily(tmp_path_factory: pytest.TempPathFactory) -> Bars:
    return write_bars(tmp_path_factory.mktemp("daily") / "bars", market_frame())


@pytest.fixture(scope="module")
def hourly(tmp_path_factory: pytest.TempPathFactory) -> Bars:
    return import_frame(hourly_frame(), tmp_path_factory.mktemp("hourly") / "bars")


def two(bars: Bars, *, universe: str = "few", **keys: Any) -> Config:
    own = {"bars": bars.uri, "feature_set": {"type": "alpha158", "columns": OWN}, "step_len": V, **keys}
    return make_config(universe=universe, second=own)


def second_windows(panel: Panel, segment: str) -> np.ndarray:
    part = panel.segments[segment]
    return SampleReader(part, "cpu").read(slice(0, len(part.samples))).named["second"].numpy()


def by_hand(panel: Panel, segment: str, bars: Bars, *, daily_first: bool, daily_second: bool, lag: int) -> np.ndarray:
    """Second windows by the words of the documentation, a sample at a time."""
    frame = bars.block().to_frame()
    table, traded = compute_features(frame, "alpha158", OWN), frame["close"].notna().to_numpy()
    assert panel.second_processors is not None
    median_F, scale_F = panel.second_processors.infer[0].feature_PF
    value_RF = ((table[[n for n in table.columns if n in OWN]].to_numpy() - median_F) / scale_F).clip(-3, 3)
    table = table[["instrument", "datetime"]].assign(traded=traded, value=list(np.nan_to_num(value_RF)))
    axis = pd.DatetimeIndex(sorted(set(table["datetime"])))
    known = axis + (DAY - pd.Timedelta(microseconds=1) if daily_second else 0 * DAY) + pd.Timedelta(minutes=lag)
    rows_of = {name: part.set_index("datetime") for name, part in table.groupby("instrument")}
    nothing = next(iter(rows_of.values()))[:0]
    made = []
    for moment, name in zip(*keys(panel, segment), strict=True):
        now = moment + (DAY - pd.Timedelta(microseconds=1) if daily_first else 0 * DAY)
        newest = int((known <= now).sum()) - 1
        rows = rows_of.get(name, nothing)
        ends = rows.index[rows["traded"] & (rows.index <= axis[newest])] if newest >= 0 else []
        if not len(ends) or newest - axis.get_loc(ends[-1]) >= V:
            made.append(np.zeros((V, len(OWN))))
            continue
        last = axis.get_loc(ends[-1])
        inside = rows["value"].reindex(axis[max(last - V + 1, 0) : last + 1]).ffill().bfill()
        made.append(np.stack([inside.iloc[0]] * (V - len(inside)) + list(inside)))
    return np.stack(made).astype(np.float32)


def keys(panel: Panel, segment: str) -> tuple[list[pd.Timestamp], list[str]]:
    samples = panel.segments[segment].samples
    return [pd.Timestamp(d) for d in panel.dates[samples.date_S]], [panel.instruments[i] for i in samples.instrument_S]


@pytest.mark.parametrize("lag", [0, 60, 24 * 60])
def test_a_day_is_given_the_hours_known_at_its_end(daily: Bars, hourly: Bars, lag: int) -> None:
    panel = panel_of(two(hourly, lag_minutes=lag), daily, None)
    for segment in ("train", "valid", "test"):
        want = by_hand(panel, segment, hourly, daily_first=True, daily_second=False, lag=lag)
        np.testing.assert_allclose(second_windows(panel, segment), want, atol=2e-6)


@pytest.mark.parametrize("lag", [0, 600])
def test_an_hour_is_given_the_days_before(daily: Bars, hourly: Bars, lag: int) -> None:
    panel = panel_of(two(daily, universe="all", lag_minutes=lag), hourly, None)
    for segment in ("train", "test"):
        want = by_hand(panel, segment, daily, daily_first=False, daily_second=True, lag=lag)
        np.testing.assert_allclose(second_windows(panel, segment), want, atol=2e-6)


def test_an_hour_sees_other_hours_up_to_its_stamp(hourly: Bars, tmp_path: Path) -> None:
    shifted = hourly_frame().assign(datetime=lambda frame: frame["datetime"] + pd.Timedelta(minutes=30))
    other = import_frame(shifted, tmp_path / "other")
    panel = panel_of(two(other, universe="all"), hourly, None)
    want = by_hand(panel, "test", other, daily_first=False, daily_second=False, lag=0)
    np.testing.assert_allclose(second_windows(panel, "test"), want, atol=2e-6)


@pytest.mark.parametrize("infer", [None, [{"class": "DropnaProcessor"}], [{"class": "CSZScoreNorm"}]])
def test_a_score_has_the_windows_of_the_test_segment(daily: Bars, hourly: Bars, infer: list[Any] | None) -> None:
    """They do not depend on where the bars that are read begin or end."""
    own = {} if infer is None else {"processors": {"infer": infer}}
    assert_scored_alike(two(hourly, **own), daily)
    assert_scored_alike(two(daily, universe="all", **own), hourly)


def assert_scored_alike(config: Config, bars: Bars) -> None:
    panel = panel_of(config, bars, None)
    whole = dict(zip(zip(*keys(panel, "test"), strict=True), second_windows(panel, "test"), strict=True))
    for start, end in (("2020-11-09", "2020-11-12"), ("2020-11-18", "2020-11-18")):
        dates = np.datetime64(start), np.datetime64(end)
        scored = scoring_panel(
            PanelSpec.of(config), bars, None, panel.processors, *dates, second_processors=panel.second_processors
        )
        found = second_windows(scored, "score")
        assert len(found) > 4
        for key, x in zip(zip(*keys(scored, "score"), strict=True), found, strict=True):
            np.testing.assert_array_equal(x, whole[key], err_msg=str(key))


def test_alpha360_is_a_second_window_too(daily: Bars, hourly: Bars) -> None:
    config = make_config(second={"bars": hourly.uri, "feature_set": {"type": "alpha360"}})
    assert config.data.second is not None
    assert config.data.second.step_len == 60
    x_SVG = second_windows(panel_of(config, daily, None), "test")
    assert x_SVG.shape[1:] == (60, 6)
    alone = build_panel(
        PanelSpec.of(make_config(universe="all", feature_set={"type": "alpha360"})), hourly, None, segments=("test",)
    )
    part = alone.segments["test"]
    assert np.isin(x_SVG[:, -1, 1], part.source.gather(torch.from_numpy(part.samples.row_S)).numpy()[:, -1, 1]).all()


NOW = pd.Timestamp("2020-11-18")


@pytest.fixture(scope="module")
def other_future(tmp_path_factory: pytest.TempPathFactory) -> Bars:
    """Every hour after the day is another one, and some are gone."""
    frame = changed_after(hourly_frame(), NOW + DAY - pd.Timedelta(microseconds=1))
    return import_frame(frame, tmp_path_factory.mktemp("future") / "bars")


def known_windows(panel: Panel, segment: str, until: pd.Timestamp) -> np.ndarray:
    samples = panel.segments[segment].samples
    return second_windows(panel, segment)[panel.dates[samples.date_S] <= until.to_datetime64()]


def test_the_past_does_not_know(daily: Bars, hourly: Bars, other_future: Bars) -> None:
    one, two_ = (panel_of(two(bars), daily, None) for bars in (hourly, other_future))
    assert one.second_processors is not None
    assert two_.second_processors is not None
    assert one.second_processors.to_json() == two_.second_processors.to_json()
    for segment in ("train", "valid", "test"):
        before, after = (known_windows(panel, segment, NOW) for panel in (one, two_))
        np.testing.assert_array_equal(before, after, err_msg=segment)
    late = [known_windows(panel, "test", NOW + DAY) for panel in (one, two_)]
    assert not np.array_equal(*late), "the change must be seen once it has happened"
    now = np.datetime64(NOW, "D")
    scored = [
        scoring_panel(
            PanelSpec.of(two(bars)), daily, None, one.processors, now, now, second_processors=one.second_processors
        )
        for bars in (hourly, other_future)
    ]
    np.testing.assert_array_equal(*(second_windows(panel, "score") for panel in scored))


def test_a_leak_of_an_hour_would_be_found(
    daily: Bars, hourly: Bars, other_future: Bars, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = second.SecondRows.rows_for
    monkeypatch.setattr(second.SecondRows, "rows_for", lambda *args: np.maximum(honest(*args) + 1, 0))
    with pytest.raises(AssertionError):
        test_the_past_does_not_know(daily, hourly, other_future)


def test_what_has_no_row_is_given_zeros_and_counted(daily: Bars, hourly: Bars) -> None:
    notes = Notes()
    panel = panel_of(two(hourly), daily, None, progress=notes)
    names = np.array(keys(panel, "test")[1])
    x_SVG = second_windows(panel, "test")
    assert not x_SVG[names == "I07"].any(), "it has no hours at all"
    dates = np.array(keys(panel, "test")[0])
    ended = x_SVG[(names == "I05") & (dates > pd.Timestamp("2020-11-12"))]
    assert len(ended) > 10
    assert not ended.any(), "its hours ended long ago"
    assert x_SVG[(names == "I05") & (dates == pd.Timestamp("2020-11-10"))].any()
    zeros = int((panel.segments["test"].samples.second_row_S == -1).sum())
    assert 10 < zeros < len(names) / 2
    assert f"test: {zeros} of {len(names)} samples have no row in data.second.bars; they are given zeros" in notes.lines


def test_bars_that_fit_nobody_are_refused(daily: Bars, tmp_path: Path) -> None:
    renamed = hourly_frame().assign(instrument=lambda frame: "SH" + frame["instrument"])
    strange = import_frame(renamed, tmp_path / "strange")
    with pytest.raises(DataError, match=r"data\.second\.bars: .*written as SHI00, in the first bars as I00"):
        panel_of(two(strange), daily, None)
    early = hourly_frame().loc[lambda frame: frame["datetime"] < "2020-08-10"]
    ended = import_frame(early, tmp_path / "ended")
    with pytest.raises(DataError, match=r"no row for any sample of valid; they run .*to 2020-08-07"):
        panel_of(two(ended), daily, None)


def test_days_behind_the_end_of_the_second_bars_have_none(daily: Bars, hourly: Bars, tmp_path: Path) -> None:
    ended = import_frame(hourly_frame().loc[lambda frame: frame["datetime"] < NOW + DAY], tmp_path / "hours")
    dates = np.array(keys(panel_of(two(ended), daily, None), "test")[0])
    whole, short = (second_windows(panel_of(two(bars), daily, None), "test") for bars in (hourly, ended))
    np.testing.assert_array_equal(short[dates <= NOW], whole[dates <= NOW])
    assert not short[dates > NOW].any()
    assert whole[dates > NOW].any()


def test_the_day_after_the_last_whole_day_has_a_window(daily: Bars, hourly: Bars, tmp_path: Path) -> None:
    """Today's bar of a day does not exist while its hours are scored."""
    ended = write_bars(tmp_path / "days", market_frame().loc[lambda frame: frame["datetime"] <= NOW])
    full, short = (panel_of(two(bars, universe="all"), hourly, None) for bars in (daily, ended))
    days = pd.DatetimeIndex(keys(full, "test")[0]).normalize()
    still = days <= NOW + DAY
    np.testing.assert_array_equal(second_windows(short, "test")[still], second_windows(full, "test")[still])
    assert second_windows(short, "test")[days == NOW + DAY].any()
    assert not second_windows(short, "test")[~still].any()


def test_fingerprint_is_of_content_and_settings(daily: Bars, hourly: Bars, other_future: Bars, tmp_path: Path) -> None:
    copy = import_frame(hourly_frame(), tmp_path / "copy")

    def made(bars: Bars, **keys: Any) -> str:
        return fingerprint(PanelSpec.of(two(bars, **keys)), daily, None, None, bars)

    one = panel_of(two(hourly), daily, None).fingerprint
    assert made(hourly) == made(copy) == one
    others = {
        made(other_future),
        made(hourly, lag_minutes=1),
        made(hourly, step_len=5),
        made(hourly, processors={"infer": []}),
    }
    assert len({one, fingerprint(PanelSpec.of(make_config()), daily, None), *others}) == 6


def test_packing_keeps_it_and_shares_it(daily: Bars, hourly: Bars) -> None:
    panel = panel_of(two(hourly), daily, None)
    spec, arrays = pack(panel)
    for array in arrays.values():
        array.flags.writeable = False
    again = unpack(spec, arrays)
    assert sum(array.ndim == 2 for array in arrays.values()) == 2, "the segments share their features"
    assert again.nbytes == panel.nbytes
    assert again.second_processors is not None
    assert panel.second_processors is not None
    assert again.second_processors.to_json() == panel.second_processors.to_json()
    for segment in panel.segments:
        np.testing.assert_array_equal(second_windows(again, segment), second_windows(panel, segment))


def test_feeds_hand_it_on_in_any_order(daily: Bars, hourly: Bars) -> None:
    part = panel_of(two(hourly), daily, None).segments["valid"]
    order = np.random.default_rng(0).permutation(len(part.samples))
    reader = SampleReader(part, "cpu")
    taken = reader.read(torch.from_numpy(order)).named["second"]
    assert torch.equal(taken, reader.read(slice(0, len(order))).named["second"][order])
    feed = ResidentEvaluation(part, batch_size=50, world=SOLO, device=torch.device("cpu"))
    assert torch.equal(torch.cat([inputs.named["second"] for inputs, _ in feed.batches()])[order], taken)
