"""Alpha158: Qlib's 158 price and volume features of one row and the 5 to 60 rows before it.

Shapes: L rows of one instrument, R rows of a block, F columns, K windows.
NaN rule: a suspended row (all NaN) is a row like any other; windows skip it as ``rolling`` says, and counts
of rising and falling closes take it for neither.

Qlib keeps float32 through element-wise arithmetic and float64 through rolling sums; so does this, since it
shows in the fourth digit once a feature is normalised.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from raybench.config.data.alpha_names import ALPHA158_NAMES, ALPHA158_WINDOWS
from raybench.errors import DataError
from raybench.feature_sets import rolling_few
from raybench.feature_sets.series import shift
from raybench.market.bars import BarBlock

NAMES: tuple[str, ...] = ALPHA158_NAMES
FIELDS = ("open", "high", "low", "close", "volume")

_EPS = 1e-12
_STILL = 2e-5  # a side that deviates less than this has no correlation and no r-square (absolute, as in Qlib)
_QUANTILES = np.array([0.8, 0.2])

FEW_ROWS, FEW_LENGTHS = 50_000, 12  # that are left to NumPy, in all of a process, and of a block
_left_to_numpy = 0  # rows so far
BATCH_ROWS = 16_384  # at once, so that what is computed of them stays in the second-level cache

Array = NDArray[Any]


def compute(block: BarBlock, columns: Sequence[str] | None = None, threads: int = 1) -> NDArray[np.float32]:
    """Compute features [R, F] of every row of ``block``.

    ``columns`` are some of NAMES (default: all) and come in that order; only what they need is computed.
    The result is the same for any number of ``threads``, and for many rows, which compiled kernels do, as for few.
    """
    names = select(columns)
    out_RF = np.empty((block.rows, len(names)), np.float32)
    _fill(block, names, out_RF.T, threads)
    return out_RF


def compute_columns(block: BarBlock, columns: Sequence[str] | None = None, threads: int = 1) -> NDArray[np.float32]:
    """As ``compute``, each feature's rows side by side: [F, R]."""
    names = select(columns)
    out_FR = np.empty((len(names), block.rows), np.float32)
    _fill(block, names, out_FR, threads)
    return out_FR


def _fill(block: BarBlock, names: Sequence[str], out_FR: NDArray[np.float32], threads: int) -> None:
    missing = [field for field in FIELDS if field not in block.fields]
    if missing:
        raise DataError(f"Alpha158 needs the fields {', '.join(FIELDS)}; the bars lack {', '.join(missing)}")
    place = {name: i for i, name in enumerate(names)}
    few = _is_few(block)
    roll = rolling_few if few else _compiled_operators()

    def fill(batch_N: NDArray[np.int64]) -> None:
        start_N = block.start_N1[batch_N]
        length = int(block.start_N1[batch_N[0] + 1] - start_N[0])
        found_FNL = _features(_fields(block, start_N[:, None] + np.arange(length), roll), place)
        for n, start in enumerate(start_N):
            out_FR[:, start : start + length] = found_FNL[:, n]

    batches = _batches(block, FEW_ROWS if few else BATCH_ROWS)
    if threads <= 1:
        for batch_N in batches:
            fill(batch_N)
    else:
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(fill, batches))


def _batches(block: BarBlock, most: int) -> list[NDArray[np.int64]]:
    """Instruments of equal length, together of about ``most`` rows."""
    length_N = np.diff(block.start_N1)
    batches: list[NDArray[np.int64]] = []
    for length in np.unique(length_N[length_N > 0]):
        of_length_N = np.flatnonzero(length_N == length)
        batches += np.array_split(of_length_N, min(-(-len(of_length_N) * int(length) // most), len(of_length_N)))
    return batches


def _compiled_operators() -> Any:
    from raybench.feature_sets import rolling  # to load the compiler takes longer than few rows do

    return rolling


def _is_few(block: BarBlock) -> bool:
    """Say whether NumPy does the rows in less time than numba takes to load: few, of few different lengths.

    Blocks that come one after the other add up: who computes a table of many small ones loads it all the same.
    """
    global _left_to_numpy
    if _left_to_numpy + block.rows > FEW_ROWS or len(np.unique(np.diff(block.start_N1))) > FEW_LENGTHS:
        return False
    _left_to_numpy += block.rows
    return True


def _fields(block: BarBlock, rows: Any, roll: Any) -> FieldArrays:
    vwap_R = block.fields.get("vwap")
    fields = {field: block.fields[field][rows] for field in FIELDS}
    return FieldArrays(**fields, vwap=None if vwap_R is None else vwap_R[rows], roll=roll)


def _beside(windows: Array, bars: FieldArrays) -> Array:
    """Windows [K] along an axis before those of the bars."""
    return windows.reshape(-1, *[1] * bars.close.ndim)


def select(columns: Sequence[str] | None) -> tuple[str, ...]:
    """Put the wanted columns in the table's order; all of them for None."""
    if columns is None:
        return NAMES
    unknown = [name for name in columns if name not in NAMES]
    if unknown:
        known = f"{', '.join(NAMES[:4])} ... {NAMES[-1]}"
        raise DataError(f"Alpha158 has no column {unknown[0]!r}; its columns are {known}")
    wanted = set(columns)
    return tuple(name for name in NAMES if name in wanted)


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldArrays:
    """The fields of instruments of equal length, float32 [N, L] each.

    ``roll``: the operators for them, ``rolling`` or ``rolling_few``.
    """

    open: Array
    high: Array
    low: Array
    close: Array
    volume: Array
    vwap: Array | None
    roll: Any


def _features(bars: FieldArrays, place: Mapping[str, int]) -> Array:
    """Compute the columns in ``place`` (name -> row) -> [F, N, L]."""
    out_FL = np.empty((len(place), *bars.close.shape), np.float32)
    with np.errstate(all="ignore"):  # 0/0 on a suspended or idle row is NaN, and meant
        for names, formula in _ROW_FORMULAS:
            if any(name in place for name in names):
                for name, values_L in zip(names, formula(bars), strict=True):
                    if name in place:
                        out_FL[place[name]] = values_L
        for families, rolling_formula in _ROLLING_FORMULAS:
            windows = [d for d in ALPHA158_WINDOWS if any(f"{f}{d}" in place for f in families)]
            if not windows:
                continue
            for family, values_KL in zip(families, rolling_formula(bars, np.array(windows)), strict=True):
                for d, values_L in zip(windows, values_KL, strict=True):
                    if f"{family}{d}" in place:
                        out_FL[place[f"{family}{d}"]] = values_L
    return out_FL


def _candle(b: FieldArrays) -> list[Array]:
    reach = b.high - b.low + np.float32(_EPS)
    upper, lower = b.high - np.maximum(b.open, b.close), np.minimum(b.open, b.close) - b.low
    middle = 2 * b.close - b.high - b.low
    return [
        (b.close - b.open) / b.open,
        (b.high - b.low) / b.open,
        (b.close - b.open) / reach,
        upper / b.open,
        upper / reach,
        lower / b.open,
        lower / reach,
        middle / b.open,
        middle / reach,
    ]


def _prices(b: FieldArrays) -> list[Array]:
    vwap = np.full_like(b.close, np.nan) if b.vwap is None else b.vwap / b.close
    return [b.open / b.close, b.high / b.close, b.low / b.close, vwap]


def _rate_of_change(b: FieldArrays, windows: Array) -> list[Array]:
    return [np.stack([shift(b.close, int(d)) / b.close for d in windows])]


def _line(b: FieldArrays, windows: Array) -> list[Array]:
    mean, std, slope, square, rest = b.roll.trend(b.close, windows)
    square[std <= _STILL] = np.nan
    return [mean / b.close, std / b.close, slope / b.close, square, rest / b.close]


def _range(b: FieldArrays, windows: Array) -> list[Array]:
    top, bottom = b.roll.maximum(b.high, windows), -b.roll.maximum(-b.low, windows)
    return [top / b.close, bottom / b.close, (b.close - bottom) / (top - bottom + _EPS)]


def _quantile(b: FieldArrays, windows: Array) -> list[Array]:
    upper, lower = b.roll.quantiles(b.close, windows, _QUANTILES)
    return [upper / b.close, lower / b.close]


def _rank(b: FieldArrays, windows: Array) -> list[Array]:
    return [b.roll.rank(b.close, windows)]


def _since_extreme(b: FieldArrays, windows: Array) -> list[Array]:
    top, bottom, length = b.roll.argmax(b.high, windows), b.roll.argmax(-b.low, windows), _beside(windows, b)
    return [top / length, bottom / length, (top - bottom) / length]


def _price_volume(b: FieldArrays, windows: Array) -> list[Array]:
    return [_correlation(b, b.close, np.log(b.volume + 1), windows)]


def _change_change(b: FieldArrays, windows: Array) -> list[Array]:
    growth = b.volume / shift(b.volume, 1)
    return [_correlation(b, b.close / shift(b.close, 1), np.log(growth + 1), windows)]


def _correlation(b: FieldArrays, x_L: Array, y_L: Array, windows: Array) -> Array:
    still_x, still_y = (b.roll.moments(side, windows)[1] <= _STILL for side in (x_L, y_L))
    return np.where(still_x | still_y, np.nan, b.roll.correlation(x_L, y_L, windows))


def _counts(b: FieldArrays, windows: Array) -> list[Array]:
    before = shift(b.close, 1)
    rows = np.minimum(np.arange(1, b.close.shape[-1] + 1), _beside(windows, b))
    moves = (b.close > before, b.close < before)
    up, down = (b.roll.total(move.astype(np.float32), windows) / rows for move in moves)
    return [up, down, up - down]


def _price_gains(b: FieldArrays, windows: Array) -> list[Array]:
    return _gains(b, b.close, windows)


def _volume_gains(b: FieldArrays, windows: Array) -> list[Array]:
    return _gains(b, b.volume, windows)


def _gains(b: FieldArrays, x_L: Array, windows: Array) -> list[Array]:
    change = x_L - shift(x_L, 1)
    zero = np.float32(0)
    gain, loss = (b.roll.total(np.maximum(side, zero), windows) for side in (change, -change))
    moved = b.roll.total(np.abs(change), windows) + _EPS
    return [gain / moved, loss / moved, (gain - loss) / moved]


def _volume(b: FieldArrays, windows: Array) -> list[Array]:
    mean, std = b.roll.moments(b.volume, windows)
    volume = b.volume + np.float32(_EPS)
    return [mean / volume, std / volume]


def _weighted_moves(b: FieldArrays, windows: Array) -> list[Array]:
    mean, std = b.roll.moments(np.abs(b.close / shift(b.close, 1) - 1) * b.volume, windows)
    return [std / (mean + _EPS)]


_ROW_FORMULAS: tuple[tuple[tuple[str, ...], Callable[[FieldArrays], list[Array]]], ...] = (
    (("KMID", "KLEN", "KMID2", "KUP", "KUP2", "KLOW", "KLOW2", "KSFT", "KSFT2"), _candle),
    (("OPEN0", "HIGH0", "LOW0", "VWAP0"), _prices),
)
_ROLLING_FORMULAS: tuple[tuple[tuple[str, ...], Callable[[FieldArrays, Array], list[Array]]], ...] = (
    (("ROC",), _rate_of_change),
    (("MA", "STD", "BETA", "RSQR", "RESI"), _line),
    (("MAX", "MIN", "RSV"), _range),
    (("QTLU", "QTLD"), _quantile),
    (("RANK",), _rank),
    (("IMAX", "IMIN", "IMXD"), _since_extreme),
    (("CORR",), _price_volume),
    (("CORD",), _change_change),
    (("CNTP", "CNTN", "CNTD"), _counts),
    (("SUMP", "SUMN", "SUMD"), _price_gains),
    (("VMA", "VSTD"), _volume),
    (("WVMA",), _weighted_moves),
    (("VSUMP", "VSUMN", "VSUMD"), _volume_gains),
)
