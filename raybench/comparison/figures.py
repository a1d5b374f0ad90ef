"""Figures of a comparison: each function takes tables and returns a matplotlib Figure; none shows or saves it.

Tables are the frames of :mod:`raybench.comparison.results`; ``order`` names the configurations from the first row of
the table to the last. NaN rule: what is NaN is not drawn.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, MaxNLocator, NullLocator

from raybench.reports.canvas import (
    BLUE,
    GRID,
    HALF,
    INK,
    LONGEST_NAME,
    MUTED,
    RUST,
    SKY,
    TEXT,
    WIDE,
    blank,
    heading,
    is_narrow,
    name_rows,
    nothing,
)
from raybench.reports.text import printable

NONE = "no fit has a Rank IC"
FEW = 5  # fits, below which a box would say more than is known
NARROW_NAME = 22  # letters of a name in the legend of a narrow figure
APART = 30  # times the least loss, from where the largest hides all others
DRAWN = 8  # lines that can be told apart
_LOOKS = tuple((colour, dash) for dash in ("-", "--", ":") for colour in (BLUE, RUST, SKY, INK, MUTED))


def rank_ic_by_name(fits: pd.DataFrame, order: Sequence[str]) -> Figure:
    """Test Rank IC of each fit, a row for each configuration: points, and a box where there are five or more."""
    values = {name: fits.loc[fits["name"] == name, "Rank IC"].dropna().to_numpy() for name in order}
    values = {name: value for name, value in values.items() if value.size}
    if not values:
        return nothing(WIDE, NONE)
    figure, (axes,) = blank(WIDE, 0.9 + 0.3 * len(values))
    for place, value in enumerate(values.values()):
        if value.size >= FEW:
            looks = {"color": MUTED, "lw": 0.9}
            axes.boxplot(
                value,
                positions=[place],
                orientation="horizontal",
                widths=0.5,
                showfliers=False,
                patch_artist=True,
                boxprops={"facecolor": GRID, "edgecolor": MUTED, "lw": 0.9},
                medianprops={"color": BLUE, "lw": 1.6},
                whiskerprops=looks,
                capprops=looks,
            )
        axes.plot(value, np.full(value.size, place), "o", color=BLUE, ms=3.4, alpha=0.75, mew=0, zorder=3)
        axes.plot(value.mean(), place, "|", color=RUST, ms=11, mew=1.8, zorder=4)
    name_rows(axes, np.arange(len(values)), values)
    axes.set_ylim(len(values) - 0.4, -0.6)
    axes.grid(False, axis="y")
    heading(axes, "Test Rank IC, bar: mean")
    _zero_if_near(axes)
    return figure


def against(fits: pd.DataFrame, column: str, order: Sequence[str], below: str) -> Figure:
    """Mean test Rank IC of each configuration against the mean of ``column``, and the frontier: what none beats
    with less of it."""
    means = fits.groupby("name")[["Rank IC", column]].mean().reindex(list(order)).astype(np.float64)
    means = means[np.isfinite(means["Rank IC"]) & np.isfinite(means[column])]
    if means.empty:
        return nothing(HALF, f"no fit has a Rank IC and {below}")
    figure, (axes,) = blank(HALF, 3.3)
    cost, y = means[column].to_numpy(), means["Rank IC"].to_numpy()
    best = frontier(cost, y)
    x = _wide_range(axes, cost)
    axes.plot(x[best], y[best], color=RUST, lw=1.3, drawstyle="steps-post", zorder=2)
    axes.plot(x, y, "o", color=SKY, ms=4.5, mew=0, zorder=3)
    axes.plot(x[best], y[best], "o", color=RUST, ms=4.5, mew=0, zorder=4)
    axes.margins(0.12, 0.12)
    middle = math.sqrt(x.min() * x.max())
    for k in _apart(np.log(x), y, best if len(x) > DRAWN else np.arange(len(x))):
        right = x[k] <= middle
        axes.annotate(
            printable(str(means.index[k]), LONGEST_NAME // 2 + 4),
            (x[k], y[k]),
            xytext=(5 if right else -5, 4),
            textcoords="offset points",
            ha="left" if right else "right",
            fontsize=TEXT - 1,
            color=INK,
            parse_math=False,
        )
    axes.set_xlabel(below, fontsize=TEXT, color=MUTED)
    heading(axes, "Mean test Rank IC")
    axes.set_title("line: frontier", loc="right", fontsize=TEXT, color=RUST)
    return figure


def frontier(cost: np.ndarray, worth: np.ndarray) -> np.ndarray:
    """Places of what nothing of equal or lower cost exceeds in worth, by rising cost.

    >>> frontier(np.array([2.0, 1.0, 3.0, 4.0]), np.array([0.3, 0.1, 0.2, 0.4])).tolist()
    [1, 0, 3]
    """
    order = np.lexsort((-worth, cost))
    before = np.concatenate([[-np.inf], np.maximum.accumulate(worth[order])[:-1]])
    return order[worth[order] > before]


def _wide_range(axes: Axes, cost: np.ndarray) -> np.ndarray:
    """Scale what spans more than a few times itself by its logarithm, and say where it is then drawn.

    What costs nothing (a network without parameters) has a place of its own before all others, with a 0 below.
    """
    some = cost[cost > 0]
    free = float(some.min()) / 4 if some.size else 1.0
    x = np.where(cost > 0, cost, free)
    with_zero = some.size < cost.size
    if with_zero or x.max() > 4 * x.min():
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(FixedLocator(([free] if with_zero else []) + _log_ticks(some)))
        axes.xaxis.set_minor_locator(NullLocator())
    else:
        axes.xaxis.set_major_locator(MaxNLocator(nbins=4))
    zero = free if with_zero else -1.0
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: "0" if value == zero else f"{value:,.6g}"))
    return x


def _log_ticks(some: np.ndarray) -> list[float]:
    """A few round numbers within some, or their ends where no round one lies."""
    if not some.size:
        return []
    low, high = float(some.min()), float(some.max())
    locator = LogLocator(subs=(1.0, 2.0, 5.0) if high < 40 * low else (1.0,), numticks=5)
    inside = [float(tick) for tick in locator.tick_values(low, high) if low <= tick <= high]
    return inside or sorted({low, high})


def _apart(x: np.ndarray, y: np.ndarray, places: np.ndarray) -> list[int]:
    """Those of some places whose names do not lie on each other's, the highest first."""
    wide, high = np.ptp(x) or 1.0, np.ptp(y) or 1.0
    kept: list[int] = []
    for k in sorted(map(int, places), key=lambda k: -y[k]):
        if all(abs(x[k] - x[j]) > 0.5 * wide or abs(y[k] - y[j]) > 0.06 * high for j in kept):
            kept.append(k)
    return kept


def cumulative_rank_ic(daily: pd.DataFrame, order: Sequence[str]) -> Figure:
    """Running sum of the daily Rank IC of each configuration, mean over its seeds."""
    means = daily_means(daily, order)
    means = means.loc[:, means.notna().any()]
    if means.empty or not means.shape[1]:
        return nothing(WIDE, "no date has a Rank IC")
    figure, (axes,) = blank(WIDE, 3.6)
    for name, look in _drawn(list(map(str, means))):
        value = means[name].dropna().cumsum()
        marker = "o" if len(value) == 1 else ""
        colour, dash, label = look
        axes.plot(value.index, value, color=colour, ls=dash, lw=1.5, marker=marker, ms=4, label=label)
    axes.axhline(0.0, color=MUTED, lw=0.7)
    heading(axes, "Cumulative Rank IC, mean over seeds")
    _limit_said(axes, means.shape[1])
    _dates(axes)
    _legend_below(axes)
    return figure


def daily_means(daily: pd.DataFrame, order: Sequence[str]) -> pd.DataFrame:
    """Rank IC by datetime (rows) and name (columns, in ``order``), mean over the seeds that have the date."""
    table = daily.groupby(["datetime", "name"])["rank_ic"].mean().unstack("name")
    return table.reindex(columns=[name for name in order if name in table])


def by_roll(results: pd.DataFrame, order: Sequence[str], metric: str) -> Figure:
    """Mean of a test ``metric`` of each configuration in each roll."""
    rolls = results[results["roll"].notna()]
    table = rolls.groupby(["roll", "name"])[metric].mean().unstack("name")
    table = table.reindex(columns=[name for name in order if name in table]).dropna(how="all").dropna(axis=1, how="all")
    if table.empty:
        return nothing(WIDE, NONE)
    figure, (axes,) = blank(WIDE, 3.4)
    place = np.arange(len(table))
    for name, (colour, dash, label) in _drawn(list(map(str, table))):
        axes.plot(place, table[name], color=colour, ls=dash, lw=1.5, marker="o", ms=3.8, label=label)
    axes.axhline(0.0, color=MUTED, lw=0.7)
    names = [printable(str(roll), LONGEST_NAME) for roll in table.index]
    letters = (max(map(len, names)) + 3) * len(names)
    step = math.ceil(letters / (50 if is_narrow() else 115))
    axes.set_xticks(place[::step], names[::step], parse_math=False)
    axes.set_xlim(-0.5, len(table) - 0.5)
    heading(axes, f"Test {metric} by roll, mean over seeds")
    _limit_said(axes, table.shape[1])
    _legend_below(axes)
    return figure


def learning_curves(histories: Mapping[str, Sequence[pd.DataFrame]], order: Sequence[str]) -> Figure:
    """Validation loss and Rank IC by epoch, a line for each run, a colour for each configuration."""
    known = [name for name in order if any(len(history) for history in histories.get(name, ()))]
    if not known:
        return nothing(WIDE, "no run has epochs")
    figure, axes = blank(WIDE, 3.4, columns=2)
    for name, (colour, dash, label) in _drawn(known):
        runs = [history for history in histories[name] if len(history)]
        for k, history in enumerate(runs):
            marker = "o" if len(history) == 1 else ""
            for part, column in zip(axes, ("valid_loss", "valid_rank_ic"), strict=True):
                looks: dict[str, Any] = {
                    "color": colour,
                    "ls": dash,
                    "lw": 1.3,
                    "alpha": 0.9,
                    "marker": marker,
                    "ms": 4,
                }
                part.plot(history["epoch"], history[column], label=label if k == 0 else "_other", **looks)
    losses = np.concatenate([history["valid_loss"].to_numpy(float) for name in known for history in histories[name]])
    losses = losses[np.isfinite(losses)]
    if len(losses) and losses.min() > 0 and losses.max() > APART * losses.min():
        axes[0].set_yscale("log")  # one that went astray leaves nothing to be seen of the others otherwise
    for part, title in zip(axes, ("Validation loss", "Validation Rank IC"), strict=True):
        heading(part, title)
        part.set_xlabel("epoch", fontsize=TEXT, color=MUTED)
        part.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=8, min_n_ticks=1))
    _limit_said(axes[0], len(known))
    _legend_below(axes[0])
    return figure


def _drawn(names: Sequence[str]) -> list[tuple[str, tuple[str, str, str]]]:
    """The first names that can be told apart, each with colour, dashes and what the legend says."""
    looks = zip(names[:DRAWN], _LOOKS, strict=False)
    return [(name, (colour, dash, _legend_name(name))) for name, (colour, dash) in looks]


def _legend_name(name: str) -> str:
    """A name that no legend takes for one that is hidden, or for a formula."""
    shown = printable(name, NARROW_NAME if is_narrow() else LONGEST_NAME).replace("$", r"\$")
    return f" {shown}" if shown.startswith("_") else shown


def _limit_said(axes: Axes, count: int) -> None:
    if count > DRAWN:
        axes.set_title(f"the first {DRAWN} of {count}", loc="right", fontsize=TEXT, color=RUST)


def _legend_below(axes: Axes) -> None:
    """Name the lines below all axes of the figure."""
    handles, labels = axes.get_legend_handles_labels()
    figure = axes.get_figure(root=True)
    assert figure is not None
    figure.legend(
        handles,
        labels,
        loc="outside lower left",
        ncols=2 if is_narrow() else 4,
        fontsize=TEXT,
        frameon=False,
        labelcolor=INK,
        handlelength=1.6,
        columnspacing=1.2,
    )


def _zero_if_near(axes: Axes) -> None:
    low, high = axes.get_xlim()
    if low < 0.0 < high:
        axes.axvline(0.0, color=MUTED, lw=0.8)


def _dates(axes: Axes) -> None:
    locator = AutoDateLocator(minticks=3, maxticks=9)  # type: ignore[no-untyped-call]
    first, last = axes.dataLim.intervalx  # in days; the year is said once where the ticks leave it out
    if first == last:
        axes.set_xlim(first - 1.0, last + 1.0)
        axes.set_xticks([first], [str(np.datetime64(int(first), "D"))])
        return
    axes.xaxis.set_major_locator(locator)
    formatter = ConciseDateFormatter(locator, show_offset=bool(last - first < 200))  # type: ignore[no-untyped-call]
    axes.xaxis.set_major_formatter(formatter)
    axes.xaxis.get_offset_text().set(fontsize=TEXT, color=MUTED)
    axes.margins(x=0.01)
