"""A configuration for the bars at hand, from every shipped one."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from raybench.config import NETWORKS, parse_config
from raybench.config.json_schema import FILE
from raybench.config.shipped import FEATURE_SETS, shipped_text
from raybench.drafting.draft import Draft, draft
from raybench.errors import ConfigError, DataError
from raybench.market.bars import BarBlock, Bars
from raybench.market.importing.job import import_bars
from raybench.market.sources.source import memory_source
from raybench.market.synthetic import UNIVERSE, make_market
from raybench.market.universe import universe_of_frame


def bars_of(to: Path, frame: pd.DataFrame, **spans: pd.DataFrame) -> str:
    universes = {name: universe_of_frame(name, each) for name, each in spans.items()}
    return import_bars(memory_source(BarBlock.from_frame(frame)), str(to), universes=universes).uri


@pytest.fixture(scope="module")
def bars(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Two years of 12 instruments, with a universe that begins a year late."""
    market = make_market(instruments=12, years=2, seed=4)
    late = market.spans.assign(start=market.spans["start"].clip(lower=pd.Timestamp("2015-01-05")))
    late = late[late["end"].isna() | (late["end"] >= late["start"])]
    return bars_of(tmp_path_factory.mktemp("draft") / "bars", market.bars, **{UNIVERSE: market.spans, "late": late})


@pytest.mark.parametrize("feature_set", FEATURE_SETS)
@pytest.mark.parametrize("network", sorted(NETWORKS))
def test_it_is_the_shipped_one_but_for_data(network: str, feature_set: str, bars: str) -> None:
    made = draft(bars, network=network, feature_set=feature_set, concepts="concepts.csv", file="c.yaml")
    shipped = parse_config(shipped_text(network, feature_set))
    assert made.config == parse_config(made.text)
    for part in ("model", "train", "cluster", "tune", "recipe"):
        assert getattr(made.config, part) == getattr(shipped, part)
    for key in ("feature_set", "label", "step_len", "processors", "residency"):
        assert getattr(made.config.data, key) == getattr(shipped.data, key)
    assert made.config.data.bars == bars
    assert made.config.data.universe == UNIVERSE
    assert made.config.data.embargo == 2
    assert not any("embargo" in line for line in made.config.warnings())
    assert "CSI 300" not in made.text.splitlines()[1]
    assert made.text.startswith(f"# yaml-language-server: $schema={FILE}\n")
    assert max(map(len, made.text.splitlines())) <= 120


def test_its_dates_are_dates_of_the_bars_with_members(bars: str) -> None:
    every = set(pd.DatetimeIndex(opened(bars).calendar).date)
    for universe, first in ((UNIVERSE, dt.date(2014, 1, 1)), ("late", dt.date(2015, 1, 5))):
        segments = draft(bars, universe=universe, file="c.yaml").config.data.segments
        assert {day for _, span in segments.items() for day in span} <= every
        assert segments.train[0] > first  # the first windows need rows before
        assert segments.test[1] == max(every)


def opened(uri: str) -> Bars:
    from raybench.market.bars import open_bars

    return open_bars(uri)


def test_it_says_what_the_bars_are(bars: str) -> None:
    text, there = draft(bars, file="my configs/c.yaml").text, opened(bars)
    assert f"12 instruments, {len(there.calendar)} dates (day), {there.metadata.first[:10]}" in text
    assert "#   raybench train 'my configs/c.yaml' --out runs/c\n" in text
    listed = there.listed(UNIVERSE)
    members = sum(bool(listed.contains(name, there.calendar[-1:])[0]) for name in listed.instruments)
    assert f"  #   {UNIVERSE}: {members}\n" in text


def real(first: str, last: str, name: str, to: Path) -> Draft:
    days = pd.bdate_range(first, last)
    rng = np.random.default_rng(0)
    rows = [
        pd.DataFrame({"instrument": f"I{n}", "datetime": days, "volume": 1.0}).assign(
            **dict.fromkeys(("open", "high", "low", "close"), np.exp(rng.normal(0, 0.01, len(days)).cumsum()))
        )
        for n in range(3)
    ]
    spans = pd.DataFrame({"instrument": [f"I{n}" for n in range(3)], "start": first, "end": None})
    return draft(bars_of(to / "bars", pd.concat(rows), **{name: spans}), file="c.yaml")


def test_qlibs_own_dates_where_the_bars_are_of_its_benchmark(tmp_path: Path) -> None:
    shipped = parse_config(shipped_text("gru", "alpha158")).data
    made = real("2007-01-04", "2020-09-25", "csi300", tmp_path)
    assert made.config.data.segments == shipped.segments
    assert made.config.data.universe == "csi300"
    assert "so that figures can be compared" in made.text


@pytest.mark.parametrize(
    ("first", "last", "name"),
    [
        ("2007-01-04", "2025-06-30", "csi300"),  # they go on for years
        ("2010-01-04", "2020-09-25", "csi300"),  # they begin too late
        ("2007-01-04", "2020-09-25", "sp500"),  # another market's
    ],
)
def test_dates_of_the_bars_elsewhere(first: str, last: str, name: str, tmp_path: Path) -> None:
    made = real(first, last, name, tmp_path)
    assert made.config.data.segments.test[1] == dt.date.fromisoformat(last)
    assert "so that figures can be compared" not in made.text


def test_a_path_cannot_break_out_of_its_line(tmp_path: Path) -> None:
    market = make_market(instruments=8, years=1)
    where = tmp_path / "a\nmodel: {type: evil}\n# b: 'c'"
    bars_of(where, market.bars)
    made = draft(str(where), file="x\ny.yaml")
    assert made.config.data.bars == str(where)
    assert made.config.model.type == "gru"


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ({"network": "gruu"}, r"--model 'gruu'.*did you mean 'gru'"),
        ({"feature_set": "alpha159"}, r"--set 'alpha159'.*did you mean 'alpha158'"),
        ({"universe": "csi300"}, r"--universe csi300: .* has .*demo"),
        ({"network": "hist"}, r"--model hist .* add --concepts FILE"),
    ],
)
def test_what_is_refused(arguments: dict[str, Any], why: str, bars: str) -> None:
    with pytest.raises((ConfigError, DataError), match=why):
        draft(bars, file="c.yaml", **arguments)


def test_a_single_instrument_is_warned_of(tmp_path: Path) -> None:
    frame = make_market(instruments=8, years=1).bars
    made = draft(bars_of(tmp_path / "bars", frame[frame["instrument"] == frame["instrument"].iloc[0]]), file="c.yaml")
    assert "one member on most dates" in made.warnings[0]


def test_a_universe_whose_spans_never_meet_bars_is_passed_over(tmp_path: Path) -> None:
    """A list of a time from which there are no bars, or whose instruments have bars at other times only."""
    market = make_market(instruments=8, years=1)
    before = market.spans.assign(start=pd.Timestamp("1990-01-01"), end=pd.Timestamp("1991-01-01"))
    bars = bars_of(tmp_path / "bars", market.bars, early=before, good=market.spans)
    assert draft(bars, file="c.yaml").config.data.universe == "good"
    with pytest.raises(DataError, match=r"--universe early: no member has bars .* early, good"):
        draft(bars, universe="early", file="c.yaml")
    alone = bars_of(tmp_path / "alone", market.bars, early=before)
    assert draft(alone, file="c.yaml").config.data.universe == "all"
