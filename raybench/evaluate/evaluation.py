"""Scores against what came after: from two tables to one Evaluation.

Shapes: T datetimes that have scores, L datetimes of the calendar (T is among them), N instruments that
have scores. NaN rule: see ``signal``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from raybench.config.label import DEFAULT_LABEL, parse_label
from raybench.data import labels
from raybench.data.bars import BarBlock
from raybench.errors import DataError
from raybench.evaluate import signal

SCORE_COLUMNS = ("instrument", "datetime", "score")
LAGS = 20
Moment = str | pd.Timestamp | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """What scores are worth.

    Attributes
    ----------
    metrics : ``IC, ICIR, Rank IC, Rank ICIR`` and the long-short figures, named as Qlib names them
    daily : one row per datetime: ic, rank_ic, long_short, long_avg, q1 .. q5 (mean label of the lowest to
        the highest fifth of the scores), scored, labelled (how many instruments), coverage (share of the
        universe that has a score, NaN where not known)
    autocorrelation : lag, rank_autocorrelation
    decay : delay, rank_ic with the label of that many dates later
    label : the expression, or what the labels were called
    """

    metrics: dict[str, float]
    daily: pd.DataFrame
    autocorrelation: pd.DataFrame
    decay: pd.DataFrame
    label: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelTable:
    """Raw labels of every instrument on every date of a calendar [L, N]; both axes are sorted."""

    dates_L: NDArray[np.datetime64]
    instruments: tuple[str, ...]
    label_LN: NDArray[np.float32]
    name: str

    @classmethod
    def of_bars(cls, block: BarBlock, label: str = DEFAULT_LABEL) -> LabelTable:
        """Compute ``label`` on bars."""
        return cls._scatter(
            np.repeat(np.asarray(block.instruments, dtype=object), np.diff(block.start_N1)),
            block.datetime_R,
            labels.compute(block, parse_label(label)),
            label,
        )

    @classmethod
    def of_frame(cls, frame: pd.DataFrame, label: str = DEFAULT_LABEL) -> LabelTable:
        """Take the column ``label`` of a frame, or compute the expression on its bars where it has none."""
        if "label" not in frame:
            return cls.of_bars(BarBlock.from_frame(frame), label)
        when_R = frame["datetime"].to_numpy("datetime64[us]")
        return cls._scatter(frame["instrument"].to_numpy(), when_R, frame["label"].to_numpy(np.float32), label)

    @classmethod
    def _scatter(
        cls, instrument_R: NDArray[Any], when_R: NDArray[Any], label_R: NDArray[np.float32], name: str
    ) -> LabelTable:
        column_R, instruments = pd.factorize(instrument_R, sort=True)
        dates_L, row_R = np.unique(when_R, return_inverse=True)
        label_LN = np.full((len(dates_L), len(instruments)), np.nan, dtype=np.float32)
        label_LN[row_R, column_R] = label_R
        return cls(dates_L=dates_L, instruments=tuple(instruments), label_LN=label_LN, name=name)


def evaluate(
    scores: pd.DataFrame,
    bars: pd.DataFrame,
    *,
    label: str = DEFAULT_LABEL,
    start: Moment = None,
    end: Moment = None,
    coverage: pd.Series[float] | None = None,
) -> Evaluation:
    """Evaluate scores (instrument, datetime, score) against bars, or against labels.

    ``bars`` is instrument, datetime and the fields that ``label`` reads, or instrument, datetime and a
    column ``label`` that is taken as it is. ``coverage``, by date, is only passed on to the daily table.

    >>> evaluate(scores, bars).metrics["Rank IC"]  # doctest: +SKIP
    """
    return evaluate_against(scores, LabelTable.of_frame(bars, label), start=start, end=end, coverage=coverage)


def evaluate_against(
    scores: pd.DataFrame,
    table: LabelTable,
    *,
    start: Moment = None,
    end: Moment = None,
    coverage: pd.Series[float] | None = None,
) -> Evaluation:
    """As ``evaluate``, with the labels at hand."""
    dates_T, instruments, score_TN = _score_matrix(scores, start, end)
    dates_L, label_LN = _on_instruments(table, dates_T, instruments)
    first_T = np.searchsorted(dates_L, dates_T)
    label_TN = label_LN[first_T]
    if not (np.isfinite(score_TN) & np.isfinite(label_TN)).any():
        raise DataError(
            f"no score from {_text(dates_T[0])} to {_text(dates_T[-1])} has a label; the bars run from "
            f"{_text(table.dates_L[0])} to {_text(table.dates_L[-1])}: other dates or other instrument names?"
        )
    ic_T, rank_ic_T = signal.correlations(score_TN, label_TN), signal.rank_correlations(score_TN, label_TN)
    long_short_T, long_avg_T = signal.long_short(score_TN, label_TN)
    quantile_TQ = signal.quantile_returns(score_TN, label_TN)
    daily = pd.DataFrame(
        {
            "datetime": dates_T,
            "ic": ic_T,
            "rank_ic": rank_ic_T,
            "long_short": long_short_T,
            "long_avg": long_avg_T,
        }
        | {f"q{q + 1}": quantile_TQ[:, q] for q in range(quantile_TQ.shape[1])}
        | {
            "scored": np.isfinite(score_TN).sum(axis=1),
            "labelled": (np.isfinite(score_TN) & np.isfinite(label_TN)).sum(axis=1),
            "coverage": _by_date(coverage, dates_T),
        }
    )
    metrics = signal.summary(ic_T, rank_ic_T, long_short_T, long_avg_T)
    return Evaluation(
        metrics=metrics,
        daily=daily,
        autocorrelation=pd.DataFrame(
            {"lag": np.arange(1, LAGS + 1), "rank_autocorrelation": signal.autocorrelation(score_TN, LAGS)}
        ),
        decay=pd.DataFrame(
            {"delay": np.arange(LAGS + 1), "rank_ic": signal.rank_ic_decay(score_TN, label_LN, first_T, LAGS)}
        ),
        label=table.name,
    )


def _score_matrix(
    scores: pd.DataFrame, start: Moment, end: Moment
) -> tuple[NDArray[np.datetime64], tuple[str, ...], signal.Array]:
    missing = [name for name in SCORE_COLUMNS if name not in scores]
    if missing:
        raise DataError(f"scores have no column {', '.join(missing)}; want {', '.join(SCORE_COLUMNS)}")
    when_R = scores["datetime"].to_numpy("datetime64[us]")
    kept_R = np.ones(len(scores), dtype=bool)
    if start is not None:
        kept_R &= when_R >= np.datetime64(pd.Timestamp(start), "us")
    if end is not None:  # an end without a time is that whole day
        kept_R &= when_R.astype("datetime64[D]") <= np.datetime64(pd.Timestamp(end), "D")
    if not kept_R.any():
        raise DataError(f"no scores from {start or 'the start'} to {end or 'the end'}; change --start or --end")
    dates_T, row_R = np.unique(when_R[kept_R], return_inverse=True)
    column_R, instruments = pd.factorize(scores["instrument"].to_numpy()[kept_R], sort=True)
    cell_R = row_R * len(instruments) + column_R
    if len(np.unique(cell_R)) < len(cell_R):
        raise DataError("scores have an instrument twice on one datetime; want one row for each")
    score_TN = np.full((len(dates_T), len(instruments)), np.nan)
    score_TN[row_R, column_R] = scores["score"].to_numpy(np.float64)[kept_R]
    return dates_T, tuple(instruments), score_TN


def _on_instruments(
    table: LabelTable, dates_T: NDArray[np.datetime64], instruments: tuple[str, ...]
) -> tuple[NDArray[np.datetime64], signal.Array]:
    """Labels of the scored instruments on the calendar from the first score on, as float64 [L, N]."""
    dates_L = np.union1d(table.dates_L[table.dates_L >= dates_T[0]], dates_T)
    label_LN = np.full((len(dates_L), len(instruments)), np.nan)
    column_N = pd.Index(table.instruments).get_indexer(pd.Index(instruments))
    known_N = np.flatnonzero(column_N >= 0)
    source_L = np.flatnonzero(table.dates_L >= dates_T[0])
    target_L = np.searchsorted(dates_L, table.dates_L[source_L])
    label_LN[np.ix_(target_L, known_N)] = table.label_LN[np.ix_(source_L, column_N[known_N])]
    label_LN[~np.isfinite(label_LN)] = np.nan  # a price of zero makes an infinite label, which nobody can earn
    return dates_L, label_LN


def _by_date(coverage: pd.Series[float] | None, dates_T: NDArray[np.datetime64]) -> signal.Array:
    if coverage is None:
        return np.full(len(dates_T), np.nan)
    by_day = coverage.set_axis(pd.to_datetime(coverage.index))
    return np.asarray(by_day.reindex(pd.DatetimeIndex(dates_T).normalize()), dtype=np.float64)


def _text(moment: np.datetime64) -> str:
    return str(moment.astype("datetime64[D]"))
