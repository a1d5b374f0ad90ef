"""A small Qlib provider directory with everything that makes real ones difficult, drawn from a seed.

24 instruments over 420 trading days: suspensions (NaN rows), late listings and delistings, a universe that is
joined and left again, a price that does not move for weeks, days without volume, repeated prices, and one
infinite vwap.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

DAYS, INSTRUMENTS = 420, 24
CALENDAR = pd.bdate_range("2015-01-05", periods=DAYS)
NAMES = tuple(f"SH6{number:05d}" for number in range(INSTRUMENTS))
UNIVERSE = "pool"
SEGMENTS = {
    "train": ("2015-03-02", "2015-12-31"),
    "valid": ("2016-01-04", "2016-04-29"),
    "test": ("2016-05-02", "2016-08-05"),
}
SHORT_SEGMENTS = {
    "train": ("2015-08-24", "2015-09-18"),
    "valid": ("2015-09-21", "2015-09-30"),
    "test": ("2015-10-01", "2015-10-09"),
}

Floats = NDArray[np.float32]


def write_provider(root: Path, seed: int = 0) -> Path:
    """Write calendars, instruments and features under ``root`` as Qlib keeps them."""
    rng = np.random.default_rng(seed)
    (root / "calendars").mkdir(parents=True)
    (root / "calendars" / "day.txt").write_text("".join(f"{day:%Y-%m-%d}\n" for day in CALENDAR))
    listed = [(0, DAYS - 1)] * INSTRUMENTS
    listed[3], listed[4], listed[5] = (130, DAYS - 1), (0, 260), (47, 390)
    (root / "instruments").mkdir()
    _write_spans(root / "instruments" / "all.txt", list(zip(NAMES, listed, strict=True)))
    _write_spans(root / "instruments" / f"{UNIVERSE}.txt", _members(listed))
    for number, (name, span) in enumerate(zip(NAMES, listed, strict=True)):
        _write_instrument(root / "features" / name.lower(), span, _bars(rng, number, span[1] - span[0] + 1))
    return root


def _members(listed: list[tuple[int, int]]) -> list[tuple[str, tuple[int, int]]]:
    """Most are members while listed; every fifth leaves and comes back, number 7 comes late."""
    spans = []
    for number, (name, (first, last)) in enumerate(zip(NAMES, listed, strict=True)):
        if number % 5 == 1:
            spans += [(name, (first, 150)), (name, (158, 230)), (name, (300, last))]
        elif number == 7:
            spans += [(name, (205, last))]
        else:
            spans += [(name, (first, last))]
    return spans


def _bars(rng: np.random.Generator, number: int, days: int) -> dict[str, Floats]:
    close = 10.0 * np.exp(np.cumsum(rng.normal(0.0, 0.02, days)))
    if number == 2:
        close[60:110] = close[60]
    if number % 4 == 0:
        close = np.round(close, 1)
    open_ = close * np.exp(rng.normal(0.0, 0.01, days))
    high = np.maximum(open_, close) * np.exp(np.abs(rng.normal(0.0, 0.008, days)))
    low = np.minimum(open_, close) * np.exp(-np.abs(rng.normal(0.0, 0.008, days)))
    volume = np.round(np.exp(rng.normal(12.0, 0.6, days)))
    vwap = (high + low + close) / 3.0
    fields = {"open": open_, "high": high, "low": low, "close": close, "volume": volume, "vwap": vwap}
    volume[rng.random(days) < 0.01] = 0.0
    suspended = rng.random(days) < 0.03
    if days > 250:
        suspended[200:215] = number % 6 == 0
    for values in fields.values():
        values[suspended] = np.nan
    if number == 9:
        vwap[180] = np.inf
    return {name: values.astype(np.float32) for name, values in fields.items()}


def _write_instrument(folder: Path, span: tuple[int, int], fields: dict[str, Floats]) -> None:
    folder.mkdir(parents=True)
    for name, values in fields.items():
        np.concatenate([[span[0]], values]).astype("<f4").tofile(folder / f"{name}.day.bin")


def _write_spans(path: Path, spans: list[tuple[str, tuple[int, int]]]) -> None:
    lines = [f"{name}\t{CALENDAR[a]:%Y-%m-%d}\t{CALENDAR[b]:%Y-%m-%d}\n" for name, (a, b) in spans]
    path.write_text("".join(lines))
