"""Figures of a search: each function takes tables and returns a matplotlib Figure; none shows or saves it.

``trials`` is the table of trials (``search.ledger``), best first; ``curves`` has a row for each epoch of each trial:
trial_id, epoch, value (the metric searched by on the validation segment). NaN rule: what is NaN is not drawn.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from raybench.reports.canvas import (
    BLUE,
    GRID,
    HALF,
    INK,
    LONGEST_NAME,
    MUTED,
    RUST,
    SEQUENTIAL,
    SKY,
    TEXT,
    WIDE,
    blank,
    heading,
    is_narrow,
    legend,
    name_rows,
    nothing,
)
from raybench.reports.text import printable
from raybench.search.draws import short_key
from raybench.search.ledger import DONE, FAILED, RUNNING, STOPPED

COLOURS: Mapping[str, str] = {DONE: BLUE, STOPPED: SKY, FAILED: RUST, RUNNING: GRID}
NO_METRIC = "no trial has a metric"
MOST_SLICES, MOST_ROWS, MOST_LABELS = 9, 60, 6


def learning_curves(trials: pd.DataFrame, curves: pd.DataFrame, best: str, name: str) -> Figure:
    """The metric by epoch, a line for each trial; the best trial stands out, stopped ones end in a mark."""
    known = curves[np.isfinite(curves["value"])]
    if known.empty:
        return nothing(WIDE, NO_METRIC)
    figure, (axes,) = blank(WIDE, 3.4)
    status = trials.set_index("trial_id")["status"]
    for trial, curve in known.groupby("trial_id"):
        colour = COLOURS[status.get(trial, DONE)]
        if trial != best:
            axes.plot(curve["epoch"], curve["value"], color=colour, lw=1.1, alpha=0.75)
        if status.get(trial) == STOPPED:
            axes.plot(curve["epoch"].iloc[-1], curve["value"].iloc[-1], "|", color=INK, ms=6, mew=1.2)
    curve = known[known["trial_id"] == best]
    axes.plot(curve["epoch"], curve["value"], color=RUST, lw=2.2, label=f"trial {best}, the best")
    axes.plot([], [], color=BLUE, lw=1.1, label="ran to its end")
    axes.plot([], [], color=SKY, lw=1.1, marker="|", markeredgecolor=INK, label="stopped by the scheduler")
    heading(axes, f"Validation {name}")
    axes.set_xlabel("epoch", fontsize=TEXT, color=MUTED)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=10, min_n_ticks=1))
    legend(axes)
    return figure


def progress_of_search(trials: pd.DataFrame, name: str, *, largest: bool) -> Figure:
    """The metric of each trial in the order of their numbers, and the best so far."""
    known = trials[np.isfinite(trials["metric"])].sort_values("trial_id")
    if known.empty:
        return nothing(HALF, NO_METRIC)
    figure, (axes,) = blank(HALF, 2.9)
    number = known["trial_id"].astype(int)
    axes.scatter(number, known["metric"], s=18, color=[COLOURS[each] for each in known["status"]], zorder=3)
    running = known["metric"].cummax() if largest else known["metric"].cummin()
    axes.step(number, running, where="post", color=RUST, lw=1.4, label="best so far")
    heading(axes, f"Validation {name}")
    axes.set_xlabel("trial", fontsize=TEXT, color=MUTED)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=8, min_n_ticks=1))
    legend(axes)
    return figure


def stops(trials: pd.DataFrame) -> Figure:
    """How many epochs each trial was given, and how it ended; best trial at the top."""
    shown = trials.head(MOST_ROWS)
    figure, (axes,) = blank(HALF, max(0.16 * len(shown) + 0.9, 2.2))
    place = np.arange(len(shown))[::-1]
    colours = [COLOURS[each] for each in shown["status"]]
    axes.barh(place, shown["epochs"].clip(lower=0.08), color=colours, height=0.72)
    name_rows(axes, place, shown["trial_id"])
    axes.set_xlabel("epochs", fontsize=TEXT, color=MUTED)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=8, min_n_ticks=1))
    for status, text in ((DONE, "to its end"), (STOPPED, "stopped"), (FAILED, "failed")):
        axes.plot([], [], "s", color=COLOURS[status], ms=6, label=text)
    legend(axes, loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=3)
    return figure


def slices(trials: pd.DataFrame, keys: Sequence[str], name: str, logarithmic: Collection[str] = ()) -> Figure:
    """The metric against the values of each key alone; ``logarithmic``: keys that are drawn on such a scale."""
    known = trials[np.isfinite(trials["metric"])]
    keys = [key for key in keys if known[key].notna().any()][:MOST_SLICES]
    if not keys:
        return nothing(WIDE, NO_METRIC)
    columns = 2 if len(keys) in (2, 4) else min(len(keys), 3)
    rows = -(-len(keys) // columns)
    figure, all_axes = blank(WIDE, 2.3 * rows, rows=rows, columns=columns)
    for axes, key in zip(all_axes, keys, strict=False):
        have = known[known[key].notna()]
        place, ticks = _axis(have[key])
        axes.scatter(place, have["metric"], s=20, color=[COLOURS[each] for each in have["status"]], zorder=3)
        _ticks(axes, place, ticks, logarithmic=key in logarithmic)
        heading(axes, printable(short_key(key), LONGEST_NAME))
    for axes in all_axes[len(keys) :]:
        axes.set_axis_off()
    all_axes[0].set_ylabel(name, fontsize=TEXT, color=MUTED)
    return figure


def parallel_coordinates(
    trials: pd.DataFrame, keys: Sequence[str], name: str, *, largest: bool, logarithmic: Collection[str] = ()
) -> Figure:
    """A line through the values of each trial, darker the better it is; the last axis is the metric."""
    known = trials[np.isfinite(trials["metric"])]
    keys = [key for key in keys if known[key].notna().any()]
    if known.empty or not keys:
        return nothing(WIDE, NO_METRIC)
    figure, (axes,) = blank(WIDE, 3.6)
    axes.grid(False)
    places: list[np.ndarray] = []
    for at, key in enumerate([*keys, "metric"]):
        place, ticks = _axis(known[key])
        value = np.log(place) if ticks is None and key in logarithmic else place
        low, high = np.nanmin(value), np.nanmax(value)
        scaled = (value - low) / (high - low) if high > low else np.full(len(value), 0.5)
        places.append(scaled)
        axes.axvline(at, color=GRID, lw=1.0, zorder=0)
        _label_axis(axes, at, known[key], scaled, ticks)
    order = np.argsort(np.argsort(known["metric"] if largest else -known["metric"]))
    share = (order + 1) / len(known)
    for row in np.argsort(share):
        heights = np.array([place[row] for place in places])
        colour = RUST if share[row] == 1.0 else SEQUENTIAL(0.15 + 0.75 * share[row])
        axes.plot(range(len(places)), heights, color=colour, lw=2.0 if share[row] == 1.0 else 1.1, alpha=0.85)
    names = [printable(short_key(key), LONGEST_NAME if not is_narrow() else 9) for key in keys]
    axes.set_xticks(range(len(places)), [*names, name])
    axes.tick_params(axis="x", labelsize=TEXT, colors=INK)
    axes.set_yticks([])
    axes.set_xlim(-0.35, len(places) - 0.55)
    axes.set_ylim(-0.08, 1.08)
    return figure


def importance(shares: pd.Series[float]) -> Figure:
    """How much of the differences between trials each key explains."""
    if shares.empty:
        return nothing(HALF, "too few trials with a metric to tell")
    shares = shares.sort_values()
    figure, (axes,) = blank(HALF, 0.36 * len(shares) + 1.0)
    axes.barh(np.arange(len(shares)), shares, color=BLUE, height=0.62)
    name_rows(axes, np.arange(len(shares)), [short_key(str(key)) for key in shares.index])
    axes.set_xlim(0.0, 1.0)
    axes.set_xlabel("share of the variance", fontsize=TEXT, color=MUTED)
    return figure


def _axis(values: pd.Series) -> tuple[np.ndarray, list[str] | None]:
    """Where values lie: numbers where they are, all else side by side, with their names."""
    if pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values):
        return values.to_numpy(np.float64, na_value=np.nan), None
    text = values.astype("string")
    names = sorted(text.dropna().unique())
    place = {each: float(at) for at, each in enumerate(names)}
    return np.array([place.get(each, np.nan) if pd.notna(each) else np.nan for each in text]), names


def _ticks(axes: Axes, place: np.ndarray, names: list[str] | None, *, logarithmic: bool) -> None:
    if names is not None:
        axes.set_xticks(range(len(names)), [printable(each, 12) for each in names], parse_math=False)
        return
    if logarithmic:
        axes.set_xscale("log")
        axes.tick_params(axis="x", which="minor", length=0, labelbottom=False)
    few = np.unique(place[np.isfinite(place)])
    if len(few) <= MOST_LABELS:
        axes.set_xticks(few, [f"{each:.4g}" for each in few])


def _label_axis(axes: Axes, at: int, values: pd.Series, scaled: np.ndarray, names: list[str] | None) -> None:
    """Write what is at the ends of an axis, or each value where there are few."""
    place, _ = _axis(values)
    finite = np.isfinite(place)
    distinct = sorted({(place[row], scaled[row]) for row in np.flatnonzero(finite)})
    if len(distinct) > MOST_LABELS:
        distinct = [distinct[0], distinct[-1]]
    for value, height in distinct:
        text = printable(names[int(value)], 12) if names is not None else f"{value:.4g}"
        axes.text(
            at + 0.03,
            height,
            text,
            fontsize=TEXT - 1.5,
            color=MUTED,
            va="center",
            ha="left",
            parse_math=False,
            zorder=4,
        )
