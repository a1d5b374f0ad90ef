"""Scores against what came after: from two tables to one Evaluation.

Shapes: T datetimes that have scores, L datetimes of the calendar (T is among them), N instruments that
have scores. NaN rule: see ``signal``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from raybench.columns import moments
from raybench.columns.types import Moments
from raybench.config.data.label import DEFAULT_LABEL
from raybench.errors import DataError
from raybench.evaluation.label_table import LabelTable
from raybench.evaluation.matching import check_matching, degenerate, several_runs
from raybench.metrics import signal
from raybench.metrics.annual import Timing
from raybench.reports.cards import ResultCard
from raybench.reports.text import numbered
from raybench.scoring.foreign import scores_of

LAGS = 20
Moment = moments.Moment | None


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Evaluation(ResultCard):
    """What scores are worth.

    Attributes
    ----------
    metrics : ``IC, ICIR, Rank IC, Rank ICIR`` and the long-short figures, named as Qlib names them, and
        standard errors; over the datetimes that are not in sample
    daily : one row per datetime: ic, rank_ic, long_short, long_avg, q1 .. q5 (mean label of the lowest to
        the highest fifth of the scores), scored, labelled (how many instruments), coverage (share of the
        universe that has a score, NaN where not known), in_sample (whether the run learned from it)
    autocorrelation : lag, rank_autocorrelation
    decay : delay, rank_ic with the label of that many dates later
    label : the expression, or what the labels were called
    timing : how often a year there are bars, and how many of them a label is held for
    in_sample : as ``metrics``, over the datetimes in sample; None where there are none, or nobody knows
    warnings : what a reader of the figures should know, a line each
    """

    metrics: dict[str, float]
    daily: pd.DataFrame
    autocorrelation: pd.DataFrame
    decay: pd.DataFrame
    label: str
    timing: Timing = field(default_factory=Timing)
    in_sample: dict[str, float] | None = None
    warnings: tuple[str, ...] = ()

    @property
    def unseen(self) -> pd.DataFrame:
        """The rows of ``daily`` that are not in sample."""
        return self.daily[~self.daily["in_sample"]]

    def card(self) -> tuple[str, Mapping[str, Any]]:
        """The figures, for a prompt or a notebook."""
        names = ("IC", "ICIR", "Rank IC", "Rank ICIR")
        figures = {name: value for name in names if np.isfinite(value := self.metrics.get(name, np.nan))}
        many = (
            numbered(len(self.unseen), "date|dates")
            if len(self.unseen)
            else f"{numbered(len(self.seen), 'date|dates')}, all learned from"
        )
        return f"evaluation of {many}", {**figures, "label": self.label}

    @property
    def seen(self) -> pd.DataFrame:
        """The rows of ``daily`` that are in sample."""
        return self.daily[self.daily["in_sample"]]


def evaluate(
    scores: pd.DataFrame | pd.Series[Any],
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
    table = LabelTable.of_frame(bars, label)
    odd: list[str] = []
    frame = scores_of(scores, warn=odd.append)
    odd += table.warnings
    with also_said(odd):
        found = evaluate_against(frame, table, start=start, end=end, coverage=coverage)
    told = several_runs(_between(frame, start, end))
    return replace(found, warnings=(*odd, *told, *found.warnings))


@contextmanager
def also_said(odd: Sequence[str]) -> Iterator[None]:
    """Let an error also say what is ``odd`` about the dates, for that is often why nothing fits."""
    try:
        yield
    except DataError as error:
        if not odd:
            raise
        raise DataError("; ".join([str(error), *odd])) from None


def evaluate_against(
    scores: pd.DataFrame | pd.Series[Any],
    table: LabelTable,
    *,
    start: Moment = None,
    end: Moment = None,
    coverage: pd.Series[float] | None = None,
    in_sample: pd.Series[bool] | None = None,
) -> Evaluation:
    """As ``evaluate``, with the labels at hand.

    ``in_sample`` says of datetimes whether the scores' run learned from them (default: of none): these are left
    out of ``metrics``, the autocorrelation and the decay.
    """
    frame = _between(scores_of(scores), start, end)
    dates_T, instruments, score_TN = _score_matrix(frame)
    dates_L, label_LN = _on_instruments(table, dates_T, instruments)
    first_T = np.searchsorted(dates_L, dates_T)
    label_TN = label_LN[first_T]
    if not np.isfinite(score_TN).any():
        raise DataError(f"none of the {score_TN.size:,} scores is a number; want scores that are not null or NaN")
    warnings = check_matching(table, dates_T, instruments, score_TN, label_TN)
    if not (np.isfinite(score_TN) & np.isfinite(label_TN)).any():
        raise DataError(_no_label(table, dates_T))
    seen_T = _seen(in_sample, dates_T)
    daily = _daily(dates_T, score_TN, label_TN, coverage, seen_T)
    new_T = np.flatnonzero(~seen_T)
    return Evaluation(
        metrics=_summary(daily, table.timing, first_T, new_T),
        daily=daily,
        autocorrelation=pd.DataFrame(
            {"lag": np.arange(1, LAGS + 1), "rank_autocorrelation": signal.autocorrelation(score_TN[new_T], LAGS)}
        ),
        decay=pd.DataFrame(
            {
                "delay": np.arange(LAGS + 1),
                "rank_ic": signal.rank_ic_decay(score_TN[new_T], label_LN, first_T[new_T], LAGS),
            }
        ),
        label=table.name,
        timing=table.timing,
        in_sample=_summary(daily, table.timing, first_T, np.flatnonzero(seen_T)) if seen_T.any() else None,
        warnings=(*_nulls(frame), *warnings, *degenerate(score_TN, label_TN), *_all_seen(seen_T)),
    )


def daily_correlations(scores: pd.DataFrame, table: LabelTable) -> pd.DataFrame:
    """IC and Rank IC of each datetime of scores (instrument, datetime, score): columns datetime, ic, rank_ic."""
    dates_T, instruments, score_TN = _score_matrix(scores)
    dates_L, label_LN = _on_instruments(table, dates_T, instruments)
    label_TN = label_LN[np.searchsorted(dates_L, dates_T)]
    return pd.DataFrame(
        {
            "datetime": dates_T,
            "ic": signal.correlations(score_TN, label_TN),
            "rank_ic": signal.rank_correlations(score_TN, label_TN),
        }
    )


def _daily(
    dates_T: Moments,
    score_TN: signal.Array,
    label_TN: signal.Array,
    coverage: pd.Series[float] | None,
    seen_T: NDArray[np.bool_],
) -> pd.DataFrame:
    """One row for each datetime, see ``Evaluation.daily``."""
    long_short_T, long_avg_T = signal.long_short(score_TN, label_TN)
    quantile_TQ = signal.quantile_returns(score_TN, label_TN)
    return pd.DataFrame(
        {
            "datetime": dates_T,
            "ic": signal.correlations(score_TN, label_TN),
            "rank_ic": signal.rank_correlations(score_TN, label_TN),
            "long_short": long_short_T,
            "long_avg": long_avg_T,
        }
        | {f"q{q + 1}": quantile_TQ[:, q] for q in range(quantile_TQ.shape[1])}
        | {
            "scored": np.isfinite(score_TN).sum(axis=1),
            "labelled": (np.isfinite(score_TN) & np.isfinite(label_TN)).sum(axis=1),
            "coverage": _by_date(coverage, dates_T),
            "in_sample": seen_T,
        }
    )


def _summary(
    daily: pd.DataFrame, timing: Timing, place_T: NDArray[np.int64], chosen_K: NDArray[np.int64]
) -> dict[str, float]:
    """The figures over some datetimes, K of T."""
    ic, rank_ic, long_short, long_avg = (
        daily[name].to_numpy(np.float64)[chosen_K] for name in ("ic", "rank_ic", "long_short", "long_avg")
    )
    return signal.summary(ic, rank_ic, long_short, long_avg, timing, place_T[chosen_K])


def _seen(in_sample: pd.Series[bool] | None, dates_T: Moments) -> NDArray[np.bool_]:
    if in_sample is None:
        return np.zeros(len(dates_T), dtype=bool)
    return np.asarray(in_sample.reindex(pd.DatetimeIndex(dates_T), fill_value=False), dtype=bool)


def _between(frame: pd.DataFrame, start: Moment, end: Moment) -> pd.DataFrame:
    when_R = frame["datetime"].to_numpy("datetime64[us]")
    first, last = moments.moment(start, "--start"), moments.end_moment(end, "--end")
    kept_R = np.ones(len(frame), dtype=bool) if first is None else when_R >= first
    kept_R = kept_R if last is None else kept_R & (when_R <= last)
    if not kept_R.any():
        raise DataError(f"no scores from {start or 'the start'} to {end or 'the end'}; change --start or --end")
    return frame[kept_R]


def _score_matrix(frame: pd.DataFrame) -> tuple[Moments, tuple[str, ...], signal.Array]:
    dates_T, row_R = np.unique(frame["datetime"].to_numpy("datetime64[us]"), return_inverse=True)
    column_R, instruments = pd.factorize(frame["instrument"].to_numpy(), sort=True)
    score_TN = np.full((len(dates_T), len(instruments)), np.nan)
    score_TN[row_R, column_R] = frame["score"].to_numpy(np.float64)
    return dates_T, tuple(str(name) for name in instruments), score_TN


def _nulls(frame: pd.DataFrame) -> tuple[str, ...]:
    count = int(frame["score"].isna().sum())
    return (f"{count:,} of {len(frame):,} scores are null, NaN or infinite, and count as not scored",) if count else ()


def _all_seen(seen_T: NDArray[np.bool_]) -> tuple[str, ...]:
    if not seen_T.all():
        return ()
    return (
        f"all {len(seen_T):,} dates lie in the run's train and valid segments or before them: there is no figure of "
        "dates it has not learned from; what these dates give stands under in_sample",
    )


def _on_instruments(table: LabelTable, dates_T: Moments, instruments: tuple[str, ...]) -> tuple[Moments, signal.Array]:
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


def _by_date(coverage: pd.Series[float] | None, dates_T: Moments) -> signal.Array:
    if coverage is None:
        return np.full(len(dates_T), np.nan)
    by_day = coverage.set_axis(pd.to_datetime(coverage.index))
    return np.asarray(by_day.reindex(pd.DatetimeIndex(dates_T).normalize()), dtype=np.float64)


def _no_label(table: LabelTable, dates_T: Moments) -> str:
    """Say why no score has a label."""
    first, last = (_text(each) for each in (dates_T[0], dates_T[-1]))
    what = f"no score from {first} to {last} has a label {table.name!r}"
    known_L = np.isfinite(table.label_LN).any(axis=1)
    if not known_L.any():
        return (
            f"{what}: the scored instruments have none on any date; want bars with prices, or another label (--config)"
        )
    begin, end = (_text(table.dates_L[known_L][at]) for at in (0, -1))
    why = "it needs later bars, wait for them or " if dates_T[0] > table.dates_L[known_L][-1] else ""
    return f"{what}: labels are known from {begin} to {end}; {why}want other dates (--start, --end) or bars (--bars)"


def _text(moment: np.datetime64) -> str:
    return str(moment.astype("datetime64[D]"))
