"""A synthetic market whose attainable Rank IC is known.

Each instrument follows a random walk with a market factor, but its return from t+1 to t+2 (the
default label of date t) holds a small part, the *planted signal* of t, which bars up to t determine.
The signal needs memory and an interaction, so a recurrent network finds more of it than a linear
model on the last row does, and all of it shows in the 20 Alpha158 features of the benchmarks:

    pressure   a decaying sum of lower shadows (KLOW) over the last rows
    flow       minus the correlation of price and volume over ten rows (CORR10)
    reversal   minus the distance of price from its five-row line (RESI5), the more so while price
               and volume move together

Shapes: T dates of the calendar, L dates with the burn-in before it, N instruments, K = LOOKBACK rows.
NaN rule: a suspended instrument has a row whose fields are all NaN; before its listing and after its
delisting it has no row. The signal is NaN on suspended rows and on an instrument's first K - 1 rows.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

UNIVERSE = "demo"
FIELDS = ("open", "high", "low", "close", "volume", "vwap")
FIRST_DATE = "2014-01-01"
LOOKBACK = 20  # rows that the planted signal may look at, its own date included
LEAD = 2  # the signal of t is in the return that ends at t + LEAD
REVIEW = 126  # dates between two reviews of the universe
SIGNAL_CORRELATION = 0.14  # of the planted signal with an instrument's own shock
MARKET_VOLATILITY = 0.009
SHADOW = 0.006  # mean length of a shadow, relative to price

_DECAY_K = 0.8 ** np.arange(LOOKBACK)[::-1]
_PRESSURE_K = _DECAY_K / np.sqrt((_DECAY_K**2).sum())
_RESIDUAL_5 = np.array([0.2, 0.0, -0.2, -0.4, 0.4])  # last value minus the line through five
_RESIDUAL_SCALE = 0.0104  # its standard deviation in this market
_SIGNAL_MEAN, _SIGNAL_SCALE = -0.035, 0.82  # of the raw sum: the signal has about mean 0 and variance 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Market:
    """A market as :func:`make_market` draws it.

    Attributes
    ----------
    bars : instrument, datetime and FIELDS (float32), sorted by instrument and datetime
    spans : instrument, start, end: the spans of the universe ``demo``
    calendar : the T dates
    signal : instrument, datetime, signal; rows as in bars
    attainable_rank_ic : mean daily Rank IC of the signal itself, over the universe and all dates
    """

    bars: pd.DataFrame
    spans: pd.DataFrame
    calendar: pd.DatetimeIndex
    signal: pd.DataFrame
    attainable_rank_ic: float

    def attainable(self, start: str | None = None, end: str | None = None) -> float:
        """Mean daily Rank IC that the planted signal itself reaches from start to end, both included."""
        return attainable_rank_ic(self.bars, self.spans, self.signal, start=start, end=end)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Paths:
    """What happened, suspended or not: prices, shadows and volumes [L, N], and the signal [L, N]."""

    open_LN: Array
    high_LN: Array
    low_LN: Array
    close_LN: Array
    volume_LN: Array
    signal_LN: Array


def make_market(seed: int = 0, instruments: int = 240, years: float = 5) -> Market:
    """Draw a market. Equal arguments give equal bytes."""
    rng = np.random.default_rng(seed)
    calendar = _calendar(rng, years)
    dates, names = len(calendar), [f"SYN{k:04d}" for k in range(instruments)]
    listed_TN = _listed(rng, dates, instruments)
    suspended_TN = _suspended(rng, dates, instruments)
    paths = _simulate(rng, dates + LOOKBACK, instruments)
    spans = _reviews(rng, listed_TN, calendar, names)

    code_R, date_R = np.nonzero(listed_TN.T)
    visible_R = ~suspended_TN[date_R, code_R]
    key = {
        "instrument": pd.Series(np.asarray(names, dtype=object)[code_R], dtype="str"),
        "datetime": calendar[date_R],
    }
    columns = _fields(paths)
    bars = pd.DataFrame(
        key
        | {
            name: np.where(visible_R, columns[name][LOOKBACK:][date_R, code_R], np.nan).astype(np.float32)
            for name in FIELDS
        }
    )
    age_TN = np.cumsum(listed_TN, axis=0)
    known_R = visible_R & (age_TN[date_R, code_R] >= LOOKBACK)
    planted_R = paths.signal_LN[LOOKBACK:][date_R, code_R]
    signal = pd.DataFrame(key | {"signal": np.where(known_R, planted_R, np.nan)})
    return Market(
        bars=bars,
        spans=spans,
        calendar=calendar,
        signal=signal,
        attainable_rank_ic=attainable_rank_ic(bars, spans, signal),
    )


def planted_signal(log_close_KN: Array, lower_shadow_KN: Array, log_volume_KN: Array) -> Array:
    """The signal of the last of K rows [K, N] -> [N].

    ``lower_shadow`` is (min(open, close) - low) / open. Nothing but these rows enters, so the signal
    of t cannot know anything later than t.
    """
    pressure_N = _PRESSURE_K @ (lower_shadow_KN / SHADOW - 1.0)
    correlation_N = _correlation(log_close_KN[-10:], log_volume_KN[-10:])
    residual_N = _RESIDUAL_5 @ log_close_KN[-5:] / _RESIDUAL_SCALE
    reversal_N = -np.tanh(0.7 * residual_N) * (1.0 + np.tanh(2.0 * correlation_N))
    raw_N = np.tanh(0.8 * pressure_N) - 1.2 * correlation_N + 0.7 * reversal_N
    return np.asarray((raw_N - _SIGNAL_MEAN) / _SIGNAL_SCALE)


def attainable_rank_ic(
    bars: pd.DataFrame,
    spans: pd.DataFrame,
    signal: pd.DataFrame,
    *,
    start: str | None = None,
    end: str | None = None,
) -> float:
    """Mean daily Rank IC of the planted signal against the default label, over members of the universe."""
    close_TN = bars.pivot(index="datetime", columns="instrument", values="close")
    label_TN = close_TN.shift(-LEAD) / close_TN.shift(-LEAD + 1) - 1.0
    signal_TN = signal.pivot(index="datetime", columns="instrument", values="signal")
    both_TN = label_TN.notna() & signal_TN.notna() & _members(spans, close_TN.index, close_TN.columns)
    kept = slice(start, end)
    rank_x = signal_TN.where(both_TN).loc[kept].rank(axis=1)
    rank_y = label_TN.where(both_TN).loc[kept].rank(axis=1)
    return float(rank_x.corrwith(rank_y, axis=1).mean())


def _simulate(rng: np.random.Generator, length: int, instruments: int) -> _Paths:
    """Walk L dates forward; the shock of each date is mixed with the signal of LEAD dates before."""
    shape = (length, instruments)
    volatility_N = 0.018 * np.exp(0.25 * rng.standard_normal(instruments))
    beta_N = 1.0 + 0.2 * rng.standard_normal(instruments)
    market_L = 0.0003 + MARKET_VOLATILITY * rng.standard_t(5, length) / np.sqrt(5 / 3)
    shock_LN = rng.standard_t(6, shape) / np.sqrt(6 / 4)
    gap_LN = 0.35 + 0.15 * rng.standard_normal(shape)
    lower_LN, upper_LN = rng.exponential(SHADOW, shape), rng.exponential(SHADOW, shape)
    log_volume_LN = _log_volume(rng, shape)

    log_close_LN, log_open_LN = np.zeros(shape), np.zeros(shape)
    log_close_LN[0] = np.log(rng.lognormal(3.0, 0.8, instruments))
    log_open_LN[0] = log_close_LN[0]
    shadow_LN, signal_LN = np.zeros(shape), np.zeros(shape)
    own = np.sqrt(1.0 - SIGNAL_CORRELATION**2)
    for t in range(length):
        if t:
            shock_N = SIGNAL_CORRELATION * signal_LN[max(t - LEAD, 0)] + own * shock_LN[t]
            return_N = beta_N * market_L[t] + volatility_N * shock_N
            log_close_LN[t] = log_close_LN[t - 1] + return_N
            log_open_LN[t] = log_close_LN[t - 1] + gap_LN[t] * return_N
        body_low_N = np.minimum(log_open_LN[t], log_close_LN[t])
        shadow_LN[t] = np.exp(body_low_N - log_open_LN[t]) * -np.expm1(-lower_LN[t])
        if t >= LOOKBACK - 1:
            window = slice(t - LOOKBACK + 1, t + 1)
            signal_LN[t] = planted_signal(log_close_LN[window], shadow_LN[window], log_volume_LN[window])
    return _Paths(
        open_LN=np.exp(log_open_LN),
        high_LN=np.exp(np.maximum(log_open_LN, log_close_LN) + upper_LN),
        low_LN=np.exp(np.minimum(log_open_LN, log_close_LN) - lower_LN),
        close_LN=np.exp(log_close_LN),
        volume_LN=np.rint(np.exp(log_volume_LN)).astype(np.float64),
        signal_LN=signal_LN,
    )


def _log_volume(rng: np.random.Generator, shape: tuple[int, int]) -> Array:
    """A level per instrument, a slow wave and daily noise [L, N]."""
    level_N = rng.normal(14.0, 1.0, shape[1])
    noise_LN = 0.25 * rng.standard_normal(shape)
    wave_LN = np.zeros(shape)
    for t in range(1, shape[0]):
        wave_LN[t] = 0.9 * wave_LN[t - 1] + 0.2 * noise_LN[t - 1]
    return level_N + wave_LN + noise_LN


def _fields(paths: _Paths) -> dict[str, NDArray[np.float32]]:
    """The fields of a bar [L, N]; rounding to float32 keeps low <= open, close, vwap <= high."""
    vwap_LN = (paths.open_LN + paths.high_LN + paths.low_LN + paths.close_LN) / 4.0
    arrays = (paths.open_LN, paths.high_LN, paths.low_LN, paths.close_LN, paths.volume_LN, vwap_LN)
    return {name: array.astype(np.float32) for name, array in zip(FIELDS, arrays, strict=True)}


def _calendar(rng: np.random.Generator, years: float) -> pd.DatetimeIndex:
    """Business days less a few holidays, about 252 a year."""
    days = pd.bdate_range(FIRST_DATE, periods=round(261 * years))
    holidays = rng.choice(np.arange(1, len(days)), size=round(9 * years), replace=False)
    return pd.DatetimeIndex(np.delete(days.to_numpy(), holidays).astype("datetime64[us]"), name="datetime")


def _listed(rng: np.random.Generator, dates: int, instruments: int) -> Mask:
    """True [T, N] from listing to delisting: a fifth lists late, a sixteenth is delisted."""
    order = rng.permutation(instruments)
    late, gone = order[: instruments // 5], order[-max(instruments // 16, 1) :]
    first_N, last_N = np.zeros(instruments, dtype=np.int64), np.full(instruments, dates)
    first_N[late] = rng.integers(1, max(int(0.7 * dates), 2), late.size)
    last_N[gone] = rng.integers(int(0.5 * dates), int(0.95 * dates), gone.size)
    t_T1 = np.arange(dates)[:, None]
    return np.asarray((t_T1 >= first_N) & (t_T1 < last_N))


def _suspended(rng: np.random.Generator, dates: int, instruments: int) -> Mask:
    """True [T, N] where trading stands still: one spell of 1 to 15 dates in about 300."""
    begins_TN = rng.random((dates, instruments)) < 1 / 300
    until_TN = np.where(begins_TN, np.arange(dates)[:, None] + rng.integers(1, 16, (dates, instruments)), 0)
    return np.asarray(np.maximum.accumulate(until_TN, axis=0) > np.arange(dates)[:, None])


def _reviews(rng: np.random.Generator, listed_TN: Mask, calendar: pd.DatetimeIndex, names: list[str]) -> pd.DataFrame:
    """At each review the larger three quarters of what is listed make the universe until the next."""
    dates, instruments = listed_TN.shape
    size_N = rng.standard_normal(instruments)
    member_TN = np.zeros_like(listed_TN)
    for first in range(0, dates, REVIEW):
        size_N = 0.9 * size_N + np.sqrt(1 - 0.9**2) * rng.standard_normal(instruments)
        floor = np.quantile(size_N[listed_TN[first]], 0.25)
        member_TN[first : first + REVIEW] = listed_TN[first] & (size_N >= floor)
    member_TN &= listed_TN
    edge_TN = np.diff(np.pad(member_TN.astype(np.int8), ((1, 1), (0, 0))), axis=0)
    code_S, first_S = np.nonzero(edge_TN.T == 1)
    _, end_S = np.nonzero(edge_TN.T == -1)
    return pd.DataFrame(
        {"instrument": [names[k] for k in code_S], "start": calendar[first_S], "end": calendar[end_S - 1]}
    )


def _members(spans: pd.DataFrame, dates: pd.Index, instruments: pd.Index) -> Mask:
    """True [T, N] where an instrument is in the universe."""
    member_TN = np.zeros((len(dates), len(instruments)), dtype=bool)
    code_S = instruments.get_indexer(pd.Index(spans["instrument"]))
    first_S = dates.searchsorted(spans["start"])
    last_S = dates.searchsorted(spans["end"], side="right")
    for code, first, last in zip(code_S, first_S, last_S, strict=True):
        member_TN[first:last, code] = True
    return member_TN


def _correlation(x_KN: Array, y_KN: Array) -> Array:
    """Pearson correlation down the columns [K, N] -> [N]; 0 where one side is constant."""
    x_KN, y_KN = x_KN - x_KN.mean(axis=0), y_KN - y_KN.mean(axis=0)
    scale_N = np.sqrt((x_KN**2).sum(axis=0) * (y_KN**2).sum(axis=0))
    result_N: Array = np.zeros_like(scale_N)
    np.divide((x_KN * y_KN).sum(axis=0), scale_N, out=result_N, where=scale_N > 1e-12)
    return result_N
