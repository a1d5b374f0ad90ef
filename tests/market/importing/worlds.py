"""Markets as a vendor knows them from day to day, and what is held of bars that grow with them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from raybench.market.bars import Bars, open_bars
from raybench.market.census import DateRules
from raybench.market.importing.append import AppendResult, append_bars
from raybench.market.importing.job import ImportResult, import_bars
from raybench.market.sources import open_source
from raybench.market.universe import Universe, universe_of_frame

FIELDS = ["open", "high", "low", "close", "volume"]
DAYS = pd.bdate_range("2020-01-06", periods=120)


@dataclass(frozen=True)
class World:
    """A market as its vendor knows it on each date: rows that are there, and universe spans."""

    rows: pd.DataFrame  # instrument, datetime, fields, as they are at the end
    splits: Mapping[str, pd.Timestamp]  # history before is halved from then on
    corrections: Mapping[tuple[str, pd.Timestamp], pd.Timestamp]  # a bar that is corrected at a date
    spans: pd.DataFrame  # instrument, start, end of the universe

    def at(self, day: pd.Timestamp) -> pd.DataFrame:
        """The whole history as it is delivered on ``day``."""
        rows = self.rows[self.rows["datetime"].dt.normalize() <= day].copy()
        for name, when in self.splits.items():
            if when <= day:
                before = (rows["instrument"] == name) & (rows["datetime"] < when)
                rows.loc[before, FIELDS[:4]] /= 2
        for (name, of), when in self.corrections.items():
            if when <= day:
                rows.loc[(rows["instrument"] == name) & (rows["datetime"].dt.normalize() == of), "close"] += 0.25
        return rows

    def universe(self, day: pd.Timestamp) -> dict[str, Universe]:
        """The members as they are known on ``day``: later ends are open still."""
        spans = self.spans[self.spans["start"] <= day].copy()
        spans["end"] = spans["end"].where(spans["end"] <= day)
        return {"pool": universe_of_frame("pool", spans)}


def world(seed: int, *, instruments: int = 9, moments: int = 1) -> World:
    """Suspensions (some longer than members may pause), late listings, delistings, splits, corrections."""
    rng = np.random.default_rng(seed)
    stamps = [d + pd.Timedelta(hours=9 + k) if moments > 1 else d for d in DAYS for k in range(moments)]
    rows, spans, splits, corrections = [], [], {}, {}
    for i in range(instruments):
        name = f"I{i}"
        first = 0 if i == 0 or rng.random() < 0.5 else int(rng.integers(0, 70))
        last = len(DAYS) if rng.random() < 0.6 else int(rng.integers(first + 5, len(DAYS)))
        there = (np.arange(len(DAYS)) >= first) & (np.arange(len(DAYS)) < last) & (rng.random(len(DAYS)) > 0.1)
        if rng.random() < 0.5:
            pause = int(rng.integers(first, len(DAYS)))
            there[pause : pause + int(rng.integers(3, 80))] = False
        there[first] = True
        here = [s for s in stamps if there[DAYS.get_loc(s.normalize())]]
        frame = pd.DataFrame({"instrument": name, "datetime": here})
        close = 10 + np.round(np.cumsum(rng.normal(0, 0.2, len(here))), 2).clip(-8)
        frame = frame.assign(open=close, high=close + 0.25, low=close - 0.25, close=close)
        rows.append(frame.assign(volume=rng.integers(1, 1000, len(here)).astype(float)))
        if rng.random() < 0.4:
            splits[name] = DAYS[int(rng.integers(20, len(DAYS)))]
        if rng.random() < 0.4:
            of = int(rng.integers(0, len(DAYS) - 1))
            corrections[(name, DAYS[of])] = DAYS[min(of + int(rng.integers(1, 9)), len(DAYS) - 1)]
        begin = int(rng.integers(0, 60)) if i else 0
        spans.append((name, DAYS[begin], DAYS[int(rng.integers(begin, len(DAYS)))] if rng.random() < 0.5 else pd.NaT))
    made = pd.concat(rows, ignore_index=True)
    return World(made, splits, corrections, pd.DataFrame(spans, columns=["instrument", "start", "end"]))


def flat(instruments: int, days: int) -> pd.DataFrame:
    """Bars of every instrument on every date."""
    frame = pd.DataFrame([(f"I{i}", d) for i in range(instruments) for d in DAYS[:days]])
    frame = frame.set_axis(["instrument", "datetime"], axis=1)
    close = 10 + np.arange(len(frame)) % 7 * 0.5
    return frame.assign(open=close, high=close + 1, low=close - 1, close=close, volume=100.0)


KEEP_ALL = DateRules(min_coverage=0.0)


def full(
    rows: pd.DataFrame,
    universes: dict[str, Universe],
    folder: Path,
    rules: DateRules | None = KEEP_ALL,
    **options: Any,
) -> ImportResult:
    folder.mkdir(exist_ok=True)
    rows.to_parquet(folder / "rows.parquet", index=False)
    return import_bars(
        open_source(folder / "rows.parquet"), folder / "bars", universes=universes, rules=rules, **options
    )


def append(
    rows: pd.DataFrame,
    universes: dict[str, Universe],
    folder: Path,
    rules: DateRules | None = KEEP_ALL,
    frequency: str | None = None,
    **options: Any,
) -> AppendResult:
    rows.to_parquet(folder / "new.parquet", index=False)
    source = open_source(folder / "new.parquet", frequency=frequency or open_bars(folder / "bars").frequency)
    done = append_bars(source, folder / "bars", universes=universes, rules=rules, **options)
    assert isinstance(done, AppendResult)
    return done


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(f.relative_to(folder)): f.read_bytes() for f in sorted(folder.rglob("*")) if f.is_file()}


def assert_same_content(got: Bars, want: Bars) -> None:
    """Equal for whoever reads: values, calendar, universes, fingerprint, what is kept of each instrument."""
    for trailing in (False, True):
        left, right = got.block(trailing=trailing), want.block(trailing=trailing)
        assert left.instruments == right.instruments
        np.testing.assert_array_equal(left.start_N1, right.start_N1)
        np.testing.assert_array_equal(left.datetime_R, right.datetime_R)
        for field, value_R in right.fields.items():
            np.testing.assert_array_equal(left.fields[field], value_R)
    np.testing.assert_array_equal(got.calendar, want.calendar)
    for name in want.universes:
        pd.testing.assert_frame_equal(got.listed(name).to_frame(), want.listed(name).to_frame())
    assert got.universes == want.universes
    assert got.metadata.histories == want.metadata.histories
    assert got.fingerprint == want.fingerprint
    rows = pd.concat(pd.read_parquet(Path(got.uri) / file.name) for file in got.files)
    assert not rows.duplicated(["instrument", "datetime"]).any()
    assert len(rows) == want.metadata.rows


def provider(folder: Path, rows: pd.DataFrame, day: pd.Timestamp) -> Path:
    """A Qlib provider as it is on ``day``: bins up to each instrument's last bar, spans that end with it."""
    days = np.unique(rows["datetime"][rows["datetime"] <= day].to_numpy().astype("M8[D]"))
    spans, fields = [], {}
    for name, part in rows[rows["datetime"] <= day].groupby("instrument"):
        at = np.searchsorted(days, part["datetime"].to_numpy().astype("M8[D]"))
        spans.append(f"{name}\t{days[at[0]]}\t{days[at[-1]]}")
        for field in FIELDS:
            values = np.full(at[-1] - at[0] + 1, np.nan, np.float32)
            values[at - at[0]] = part[field]
            fields[(str(name), field)] = np.r_[np.float32(at[0]), values].astype("<f4")
    for (name, field), data in fields.items():
        (folder / "features" / name.lower()).mkdir(parents=True, exist_ok=True)
        (folder / "features" / name.lower() / f"{field}.day.bin").write_bytes(data.tobytes())
    for place, lines in (("calendars/day.txt", list(map(str, days))), ("instruments/all.txt", spans)):
        (folder / place).parent.mkdir(exist_ok=True)
        (folder / place).write_text("\n".join(lines) + "\n")
    return folder
