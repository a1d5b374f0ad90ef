"""NumPy's operators for few rows give every bit that the compiled ones give, whatever the rows hold."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from raybench.feature_sets import alpha158, rolling, rolling_few
from raybench.market.bars import BarBlock

WINDOWS = np.array([1, 2, 5, 20])
KINDS = ("smooth", "holes", "infinite", "still", "ties", "tiny", "huge", "empty")


def series(kind: str, rows: int = 90, instruments: int = 4) -> np.ndarray:
    """Series [N, L] float32 of one kind of trouble."""
    rng = np.random.default_rng(KINDS.index(kind))
    x = np.exp(rng.normal(0, 0.02, (instruments, rows)).cumsum(axis=1) + 3).astype(np.float32)
    if kind in ("holes", "infinite"):
        x[rng.random(x.shape) < 0.3] = np.nan
        x[:, 30:60] = np.nan
        x[0, :5] = np.nan
    if kind == "infinite":
        x[rng.random(x.shape) < 0.1] = np.inf
        x[rng.random(x.shape) < 0.1] = -np.inf
    if kind == "still":
        x[:, 20:70] = x[:, 20:21]
    if kind == "ties":
        x = np.round(x).astype(np.float32)
    return np.float32({"tiny": 1e-30, "huge": 1e30, "empty": np.nan}.get(kind, 1.0)) * x


def stacked(found: object) -> bytes:
    parts = found if isinstance(found, tuple) else (found,)
    return b"".join(np.ascontiguousarray(part, np.float64).tobytes() for part in parts)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["total", "moments", "trend", "maximum", "argmax", "rank"])
def test_an_operator_gives_the_same_bits(name: str, kind: str) -> None:
    x_NL = series(kind)
    with np.errstate(all="ignore"):
        found = getattr(rolling_few, name)(x_NL, WINDOWS)
    for i, x_L in enumerate(x_NL):
        ours = tuple(part[:, i] for part in found) if isinstance(found, tuple) else found[:, i]
        assert stacked(ours) == stacked(getattr(rolling, name)(x_L, WINDOWS))


@pytest.mark.parametrize("kind", KINDS)
def test_operators_of_more_than_a_series_give_the_same_bits(kind: str) -> None:
    x_NL, y_NL, shares = series(kind), series("holes")[::-1], np.array([0.8, 0.2])
    with np.errstate(all="ignore"):
        related = rolling_few.correlation(x_NL, y_NL, WINDOWS)
        ordered = rolling_few.quantiles(x_NL, WINDOWS, shares)
    for i, (x_L, y_L) in enumerate(zip(x_NL, y_NL, strict=True)):
        assert stacked(related[:, i]) == stacked(rolling.correlation(x_L, np.ascontiguousarray(y_L), WINDOWS))
        assert stacked(ordered[:, :, i]) == stacked(rolling.quantiles(x_L, WINDOWS, shares))


@pytest.mark.parametrize("vwap", [True, False])
def test_alpha158_is_the_same_either_way(monkeypatch: pytest.MonkeyPatch, vwap: bool) -> None:
    """All columns, instruments of several lengths, one of them a single row, with holes and idle days."""
    rng = np.random.default_rng(1)
    lengths = np.array([120, 120, 1, 61, 120, 7])
    close = np.exp(rng.normal(0, 0.03, lengths.sum()).cumsum() / 9 + 2).astype(np.float32)
    moved = {name: close * np.float32(1 + 0.01 * k) for k, name in enumerate(("open", "high", "low", "vwap"))}
    volume = rng.lognormal(10, 1, len(close)).astype(np.float32) * (rng.random(len(close)) > 0.1)
    fields = {**moved, "close": close, "volume": volume.astype(np.float32)}
    for values in fields.values():
        values[rng.integers(0, len(close), 9)] = np.nan
    block = BarBlock(
        instruments=tuple("ABCDEF"),
        start_N1=np.cumsum([0, *lengths]),
        datetime_R=np.concatenate([np.arange(n).astype("datetime64[D]").astype("datetime64[us]") for n in lengths]),
        fields=fields if vwap else {name: fields[name] for name in alpha158.FIELDS},
    )
    monkeypatch.setattr(alpha158, "_left_to_numpy", 0)
    few = alpha158.compute(block)
    monkeypatch.setattr(alpha158, "FEW_ROWS", 0)
    many = alpha158.compute(block)
    assert np.isfinite(many).mean() > 0.5
    assert few.tobytes() == many.tobytes()


def test_few_rows_do_without_the_compiler() -> None:
    code = "import sys, raybench.panel.build, raybench.feature_sets.alpha360; sys.exit('numba' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
