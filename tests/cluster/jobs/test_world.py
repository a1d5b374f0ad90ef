"""Imports and scoring in any order, killed now and then, against a dictionary of what ought to be there."""

from __future__ import annotations

import functools
import os
import tempfile
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from raybench.cluster.jobs.scoring import score
from raybench.config import Config
from raybench.errors import DataError
from raybench.market.bars import BarBlock, open_bars
from raybench.market.importing.job import import_bars
from raybench.market.sources import memory_source
from raybench.market.synthetic import UNIVERSE
from raybench.market.universe import universe_of_frame
from tests.cluster.scored import bytes_of
from tests.killed import may_be_killed_at

FIRST = "2015-08-03"  # of the run's test segment
DATES, NAMES = 8, 8
Market = tuple[int, int, int]  # how many dates of the test segment, how many instruments, which restatement
MARKETS = st.tuples(st.sampled_from([3, 6, DATES]), st.sampled_from([6, NAMES]), st.integers(0, 1))
MEMORY = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # where to force a file to disk costs nothing
FATAL = st.one_of(st.none(), st.none(), st.integers(0, 40))


class Stage:
    """The run, and every market that a test comes by."""

    def __init__(self, run: str, base: pd.DataFrame) -> None:
        self.run = run
        self.done = Counter[str]()
        self.base = base
        self.frame = functools.cache(self._frame)
        self.scored = functools.cache(self._scored)

    def _frame(self, market: Market) -> pd.DataFrame:
        """The bars; a restatement changes prices of the days before the test segment."""
        dates, names, restated = market
        days = np.unique(self.base["datetime"])
        last = days[days >= np.datetime64(FIRST)][dates - 1]
        frame = self.base[(self.base["datetime"] <= last) & (self.base["instrument"] <= f"SYN{names:04d}")].copy()
        frame.loc[(frame["datetime"] >= "2015-07-30") & (frame["instrument"] == "SYN0002"), "low"] *= 1 - restated / 100
        return frame

    def put(self, market: Market, to: str, *, replace: bool = False) -> None:
        """Import a market."""
        names = [f"SYN{n:04d}" for n in range(1, NAMES + 1)]
        spans = pd.DataFrame({"instrument": names, "start": "2014-01-01", "end": None})
        universes = {UNIVERSE: universe_of_frame(UNIVERSE, spans)}
        import_bars(memory_source(BarBlock.from_frame(self.frame(market))), to, universes=universes, replace=replace)

    def _scored(self, market: Market) -> Mapping[str, bytes]:
        """What its dates hold when all of them are scored at once into a new folder."""
        with tempfile.TemporaryDirectory(dir=MEMORY) as folder:
            self.put(market, f"{folder}/bars")
            score(self.run, bars=f"{folder}/bars", to=f"{folder}/scores", local=True, min_coverage=0.0)
            return bytes_of(f"{folder}/scores")


class World(RuleBasedStateMachine):
    """A bars dataset and a score table of one run; ``there`` and ``scores`` say what they hold."""

    stage: ClassVar[Stage]

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory(dir=MEMORY)
        self.bars, self.to = (str(Path(self.folder.name) / name) for name in ("bars", "scores"))
        self.there: Market | None = None
        self.scores: dict[str, bytes] = {}

    def teardown(self) -> None:
        self.folder.cleanup()

    @initialize(market=MARKETS)
    def begin(self, market: Market) -> None:
        self.stage.put(market, self.bars)
        self.there = market
        score(self.stage.run, bars=self.bars, to=self.to, end="2015-08-05", local=True, min_coverage=0.0)
        self.scores = {day: self.stage.scored(market)[day] for day in ("2015-08-03", "2015-08-04", "2015-08-05")}

    @rule(market=MARKETS, replace=st.booleans(), fatal=FATAL)
    def import_(self, market: Market, replace: bool, fatal: int | None) -> None:
        less = any(new < old for new, old in zip(market[:2], self.there[:2], strict=True))
        with may_be_killed_at(10**6 if fatal is None else fatal) as fate:
            if less and not replace:
                with pytest.raises(DataError, match="less than is there"):
                    self.stage.put(market, self.bars)
                self.stage.done["import refused"] += 1
                return
            self.stage.put(market, self.bars, replace=replace)
        self.stage.done[f"import{' killed' * fate.killed}"] += 1
        if not fate.killed or not self.holds(self.there):
            self.there = market

    @rule(
        start=st.integers(0, DATES - 1),
        days=st.integers(1, DATES),
        how=st.sampled_from([{}, {}, {"overwrite": True}, {"since_last": True}]),
        fatal=FATAL,
    )
    def score(self, start: int, days: int, how: Mapping[str, Any], fatal: int | None) -> None:
        new = self.stage.scored(self.there)
        calendar = sorted(self.stage.scored((DATES, NAMES, 0)))
        first, last = calendar[start], calendar[min(start + days, DATES) - 1]
        chosen = [day for day in new if first <= day <= last]
        if "since_last" in how and self.scores:
            chosen = [day for day in chosen if day > max(self.scores)]
        elif not chosen:
            with pytest.raises(DataError, match="no date to score"):
                score(self.stage.run, bars=self.bars, to=self.to, start=first, end=last, local=True, **how)
            return
        due = [day for day in chosen if "overwrite" in how or day not in self.scores]
        with may_be_killed_at(10**6 if fatal is None else fatal) as fate:
            done = score(
                self.stage.run, bars=self.bars, to=self.to, start=first, end=last, local=True, min_coverage=0.0, **how
            )
        self.stage.done[f"score{' killed' * fate.killed}"] += 1
        if fate.killed:
            found = bytes_of(self.to) if Path(self.to).exists() else {}
            due = [day for day in due if found.get(day) == new[day]]
        else:
            assert list(done.written) == due
        self.scores |= {day: new[day] for day in due}

    @precondition(lambda self: self.scores)
    @rule(data=st.data())
    def lose(self, data: st.DataObject) -> None:
        """Somebody deletes a date."""
        day = data.draw(st.sampled_from(sorted(self.scores)))
        (Path(self.to) / f"date={day}" / "scores.parquet").unlink()
        del self.scores[day]

    def holds(self, market: Market | None) -> bool:
        """Whether the dataset is wholly this one."""
        want, got = BarBlock.from_frame(self.stage.frame(market)), open_bars(self.bars).block()
        return got.instruments == want.instruments and all(
            np.array_equal(got.fields[name], want.fields[name], equal_nan=True) for name in want.fields
        )

    @invariant()
    def everything_is_as_the_dictionary_says(self) -> None:
        if self.there is not None:
            assert self.holds(self.there)
            assert (bytes_of(self.to) if Path(self.to).exists() else {}) == self.scores


@pytest.mark.slow
def test_the_world_is_what_a_dictionary_says(
    make_config: Callable[..., Config], make_run: Callable[[Config], str], market_bars: str
) -> None:
    base = open_bars(market_bars).block().to_frame()
    base = base[(base["datetime"] >= "2015-04-01") & (base["instrument"] <= f"SYN{NAMES:04d}")]
    stage = Stage(make_run(make_config()), base)
    world = type("World", (World,), {"stage": stage})
    run_state_machine_as_test(world, settings=settings(stateful_step_count=15))
    assert min(stage.done[name] for name in ("import", "import refused", "import killed", "score", "score killed")) > 3
