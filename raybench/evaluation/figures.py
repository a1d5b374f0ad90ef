"""Figures of the report: each function takes a table and returns a matplotlib Figure; none shows or saves it.

Colours are those of ``reports.canvas`` and no others except within the heat map. NaN rule: what is NaN is not
drawn.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import TwoSlopeNorm
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator, PercentFormatter

from raybench.metrics.annual import standard_error
from raybench.reports.canvas import (
    BLUE,
    DIVERGING,
    FIFTHS,
    GRID,
    HALF,
    INK,
    MUTED,
    RUST,
    SKY,
    TEXT,
    WIDE,
    blank,
    heading,
    is_narrow,
    legend,
    nothing,
)

NO_IC = "no date has an IC"
LIGHT_TEXT, DARK_TEXT = "#ffffff", "#22262b"  # on the cells of the heat map, whatever the page

MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def training(history: pd.DataFrame) -> Figure:
    """Loss and validation Rank IC by epoch, from the run's history."""
    figure, (loss, rank_ic) = blank(WIDE, 2.9, columns=2)
    best = int(history["valid_rank_ic"].fillna(-np.inf).argmax())
    marker = "o" if len(history) <= 40 else ""
    for name, text, colour in (("train_loss", "training", SKY), ("valid_loss", "validation", BLUE)):
        loss.plot(history["epoch"], history[name], color=colour, lw=1.6, marker=marker, ms=3.2, label=text)
    rank_ic.plot(history["epoch"], history["valid_rank_ic"], color=BLUE, lw=1.6, marker=marker, ms=3.2)
    top = history.iloc[best]
    if np.isfinite(top["valid_rank_ic"]):
        rank_ic.plot(top["epoch"], top["valid_rank_ic"], "o", color=RUST, ms=6)
        text = f"{top['valid_rank_ic']:.4f} at epoch {int(top['epoch'])}"
        rank_ic.set_title(text, loc="right", fontsize=TEXT, color=RUST)
    for axes, title in ((loss, "Loss"), (rank_ic, "Validation Rank IC")):
        heading(axes, title)
        axes.set_xlabel("epoch", fontsize=TEXT, color=MUTED)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=8, min_n_ticks=1))
        axes.set_xlim(history["epoch"].min() - 0.5, history["epoch"].max() + 0.5)
    legend(loss)
    return figure


def rank_ic_over_time(daily: pd.DataFrame, window: int = 20) -> Figure:
    """Cumulative Rank IC and IC above, Rank IC of each date with its running mean below."""
    figure, (total, each) = blank(WIDE, 4.6, rows=2, heights=(3, 2), share_x=True)
    when = daily["datetime"].to_numpy()
    for name, text, colour in (("rank_ic", "Rank IC", BLUE), ("ic", "IC", RUST)):
        total.plot(when, _path(daily, daily[name]), color=colour, lw=1.7, label=text)
    heading(total, "Cumulative")
    legend(total)
    rank_ic = daily["rank_ic"]
    each.fill_between(when, rank_ic.fillna(0.0), step="mid", color=SKY, lw=0, alpha=0.55)
    running = rank_ic.rolling(window, min_periods=max(window // 2, 1)).mean()
    each.plot(when, running, color=BLUE, lw=1.5)
    each.axhline(0.0, color=MUTED, lw=0.7)
    heading(each, "Rank IC of each date")
    each.set_title(f"line: mean of {window} dates", loc="right", fontsize=TEXT, color=BLUE)
    for axes in (total, each):
        _shade(axes, daily)
    _dates(each)
    return figure


def ic_distribution(daily: pd.DataFrame) -> Figure:
    """How the Rank IC of single dates is spread."""
    value = daily["rank_ic"].dropna()
    if value.empty:
        return nothing(HALF, NO_IC)
    figure, (axes,) = blank(HALF, 2.9)
    axes.hist(value, bins=min(max(len(value) // 12, 10), 45), color=SKY, edgecolor="none", alpha=0.85)
    axes.axvline(0.0, color=MUTED, lw=0.8)
    axes.axvline(value.mean(), color=RUST, lw=1.6)
    heading(axes, "Number of dates")
    share = (value > 0).mean()
    axes.set_title(f"mean {value.mean():.4f}, above 0 on {share:.0%}", loc="right", fontsize=TEXT, color=RUST)
    axes.set_xlabel("Rank IC of a date", fontsize=TEXT, color=MUTED)
    return figure


def quantile_means(daily: pd.DataFrame, holding: int = 1) -> Figure:
    """Mean label of each score fifth less that of all fifths, with two standard errors."""
    excess = _excess(daily) * 1e4
    if not excess.notna().to_numpy().any():
        return nothing(HALF, "no date has a label in every fifth")
    figure, (axes,) = blank(HALF, 2.9)
    error = [2.0 * standard_error(excess[name].to_numpy(), holding) for name in excess]
    place = np.arange(excess.shape[1])
    axes.bar(place, excess.mean(), color=FIFTHS, width=0.66)
    axes.errorbar(place, excess.mean(), yerr=error, fmt="none", ecolor=INK, elinewidth=0.9, capsize=2.5)
    axes.axhline(0.0, color=MUTED, lw=0.8)
    axes.set_xticks(place, _fifth_names())
    axes.grid(False, axis="x")
    each = "a date" if holding == 1 else f"over {holding} bars"
    heading(axes, f"Basis points {each}, against the mean of all")
    return figure


def quantile_paths(daily: pd.DataFrame, holding: int = 1) -> Figure:
    """Running sum of what each score fifth earned more than all of them."""
    figure, (axes,) = blank(HALF, 2.9)
    excess = _excess(daily) / holding
    when = daily["datetime"].to_numpy()
    for name, colour, text in zip(excess, FIFTHS, _fifth_names(), strict=True):
        axes.plot(when, _path(daily, excess[name]), color=colour, lw=1.5, label=text)
    axes.axhline(0.0, color=MUTED, lw=0.7)
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    heading(axes, f"Sum of {_returns(holding)}, against the mean of all")
    _shade(axes, daily)
    _dates(axes)
    below = {"loc": "upper left", "bbox_to_anchor": (0.0, -0.11), "ncols": 5, "columnspacing": 1.2}
    legend(axes, **below)
    return figure


def long_short_path(daily: pd.DataFrame, holding: int = 1) -> Figure:
    """Running sum of the long-short return and how far it lies below its highest point."""
    figure, (axes,) = blank(HALF, 2.9)
    when = daily["datetime"].to_numpy()
    earned, part = (daily["long_short"] / holding).fillna(0.0), daily["in_sample"]
    level = earned.groupby(part).cumsum()  # what lies in sample has a peak of its own
    fall = level - level.groupby(part).cummax().clip(lower=0.0)
    axes.plot(when, _path(daily, earned), color=BLUE, lw=1.7, label="long-short")
    axes.fill_between(when, fall, color=RUST, alpha=0.4, lw=0, label="below the peak")
    axes.axhline(0.0, color=MUTED, lw=0.7)
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    heading(axes, f"Sum of {_returns(holding)}, before costs")
    legend(axes)
    _shade(axes, daily)
    _dates(axes)
    return figure


def score_autocorrelation(table: pd.DataFrame) -> Figure:
    """How much of the order of instruments remains after some dates."""
    figure, (axes,) = blank(HALF, 2.9)
    axes.plot(table["lag"], table["rank_autocorrelation"], color=BLUE, lw=1.5, marker="o", ms=3.4)
    axes.axhline(0.0, color=MUTED, lw=0.8)
    axes.set_ylim(min(0.0, float(table["rank_autocorrelation"].min(skipna=True)) * 1.1), 1.02)
    _lags(axes, "dates between the two scores", "Rank correlation of scores")
    return figure


def ic_decay(table: pd.DataFrame) -> Figure:
    """Rank IC of scores that are acted on some dates late."""
    figure, (axes,) = blank(HALF, 2.9)
    axes.bar(table["delay"], table["rank_ic"], color=[RUST, *[SKY] * (len(table) - 1)], width=0.7)
    axes.axhline(0.0, color=MUTED, lw=0.8)
    axes.grid(False, axis="x")
    _lags(axes, "dates of delay", "Rank IC")
    return figure


def coverage(daily: pd.DataFrame) -> Figure:
    """How many instruments had a score, and how many of these a label."""
    figure, (axes,) = blank(WIDE, 2.3)
    when = daily["datetime"].to_numpy()
    axes.plot(when, daily["scored"], color=BLUE, lw=1.5, drawstyle="steps-post", label="scored")
    axes.plot(when, daily["labelled"], color=SKY, lw=1.1, drawstyle="steps-post", label="with a label")
    axes.set_ylim(0, float(daily["scored"].max()) * 1.12)
    known = daily["coverage"].dropna()
    if len(known):
        text = f"{known.mean():.1%} of the universe"
        axes.set_title(text, loc="right", fontsize=TEXT, color=RUST)
    heading(axes, "Instruments")
    legend(axes)
    _shade(axes, daily)
    _dates(axes)
    return figure


def monthly_rank_ic(daily: pd.DataFrame) -> Figure:
    """Mean Rank IC of each month, a row a year."""
    table = monthly_table(daily).dropna(how="all")
    if table.empty:
        return nothing(WIDE, NO_IC)
    figure, (axes,) = blank(WIDE, 0.75 + 0.36 * len(table))
    value, narrow = table.to_numpy(), is_narrow()
    bound = float(np.nanquantile(np.abs(value), 0.95)) or 1e-9
    norm = TwoSlopeNorm(0.0, -bound, bound)
    axes.pcolormesh(np.ma.masked_invalid(value), cmap=DIVERGING, norm=norm, edgecolors="none")
    for (row, column), cell in np.ndenumerate(value):
        if np.isfinite(cell):
            text = LIGHT_TEXT if _is_dark(DIVERGING(norm(cell))) else DARK_TEXT
            shown = (f"{cell * 100:.0f}" if narrow else f"{cell:.3f}").replace("-", "\N{MINUS SIGN}")
            axes.text(column + 0.5, row + 0.5, shown, color=text, ha="center", va="center", fontsize=TEXT)
    for edge in range(1, value.shape[1]):
        axes.axvline(edge, color=GRID, lw=4 if edge == 12 else 1)
    for edge in range(1, value.shape[0]):
        axes.axhline(edge, color=GRID, lw=1)
    axes.set_xticks(np.arange(13) + 0.5, [*MONTHS, "Year"])
    axes.set_yticks(np.arange(len(table)) + 0.5, [str(year) for year in table.index])
    axes.invert_yaxis()
    axes.grid(False)
    axes.xaxis.tick_top()
    for spine in axes.spines.values():
        spine.set_visible(False)
    if narrow:
        heading(axes, "In hundredths")
    return figure


def monthly_table(daily: pd.DataFrame) -> pd.DataFrame:
    """Mean Rank IC by year (rows) and month (columns 1 to 12), and the mean over all dates of the year."""
    when = daily["datetime"].dt
    by_month = daily.groupby([when.year, when.month])["rank_ic"].mean().unstack()
    table = by_month.reindex(columns=range(1, 13))
    table["all"] = daily.groupby(when.year)["rank_ic"].mean()
    return table.rename_axis(index="year", columns="month")


def _is_dark(colour: tuple[float, ...]) -> bool:
    red, green, blue = colour[:3]
    return 0.299 * red + 0.587 * green + 0.114 * blue < 0.6


def _excess(daily: pd.DataFrame) -> pd.DataFrame:
    fifths = daily[[f"q{q}" for q in range(1, 6)]]
    return fifths.sub(fifths.mean(axis=1, skipna=False), axis=0)


def _path(daily: pd.DataFrame, value: pd.Series[float]) -> pd.Series[float]:
    """Running sum that starts from zero on the first date that is not in sample."""
    total: pd.Series[float] = value.fillna(0.0).cumsum()
    unseen = np.flatnonzero(~daily["in_sample"])
    return total - (float(total.iloc[unseen[0] - 1]) if len(unseen) and unseen[0] else 0.0)


def _returns(holding: int) -> str:
    return "labels" if holding == 1 else f"labels / {holding}"  # of neighbouring dates share bars


def _shade(axes: Axes, daily: pd.DataFrame) -> None:
    """Shade the dates in sample; it is left to what else is drawn how high the axes are."""
    seen = daily["in_sample"].to_numpy()
    edges = np.flatnonzero(np.diff(np.concatenate([[False], seen, [False]]).astype(np.int8)))
    when = daily["datetime"].to_numpy()
    for first, stop in edges.reshape(-1, 2):
        axes.axvspan(when[first], when[stop - 1], color=GRID, alpha=0.8, lw=0, zorder=0)
    if len(edges):
        axes.text(0.01, 0.97, "shaded: in sample", color=MUTED, fontsize=TEXT, va="top", transform=axes.transAxes)


def _fifth_names() -> tuple[str, ...]:
    return ("lowest", "2nd", "3rd", "4th", "highest")


def _dates(axes: Axes) -> None:
    locator = AutoDateLocator(minticks=4, maxticks=9)  # type: ignore[no-untyped-call]
    axes.xaxis.set_major_locator(locator)
    first, last = axes.dataLim.intervalx  # in days; the year is said once where the ticks leave it out
    short = bool(last - first < 200)
    formatter = ConciseDateFormatter(locator, show_offset=short)  # type: ignore[no-untyped-call]
    axes.xaxis.set_major_formatter(formatter)
    axes.xaxis.get_offset_text().set(fontsize=TEXT, color=MUTED)
    axes.margins(x=0.01)


def _lags(axes: Axes, below: str, title: str) -> None:
    axes.set_xlabel(below, fontsize=TEXT, color=MUTED)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=7))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{y:g}"))
    heading(axes, title)
