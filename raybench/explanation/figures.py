"""Figures of the report: each function takes arrays or a table and returns a matplotlib Figure; none shows or saves it.

Time runs to the right and ends with the newest row of the window, lag 0. Colours are those of ``reports.canvas``;
a heat map is one picture, whatever its size. NaN is not drawn.

Shapes: N instruments, W steps (oldest first), F features, H hidden units.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import Normalize, TwoSlopeNorm
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from raybench.models.layers.cells import SIGNED
from raybench.reports.canvas import (
    BLUE,
    DIVERGING,
    HALF,
    INK,
    MUTED,
    RUST,
    SEQUENTIAL,
    SKY,
    TEXT,
    WIDE,
    blank,
    heading,
    name_rows,
)
from raybench.reports.html import number

Array = NDArray[Any]
MOST_ROWS = 40  # of features that are named, else their names run into each other
RELATIVE = "weight in multiples of equal weights"
LAG_TEXT = "lag: rows before the date"


def feature_importance(table: pd.DataFrame, measure: str) -> Figure:
    """Bars of the features that matter most, with the standard deviation over the repeats."""
    shown = table.sort_values("mean", ascending=False, kind="stable").head(MOST_ROWS).iloc[::-1]
    figure, (axes,) = blank(HALF, _height(len(shown)))
    place = np.arange(len(shown))
    axes.barh(place, shown["mean"], xerr=_whiskers(shown), color=_signs(shown["mean"]), height=0.7, **_error_looks())
    name_rows(axes, place, shown["name"])
    axes.axvline(0.0, color=MUTED, lw=0.8)
    axes.grid(False, axis="y")
    axes.margins(y=0.01)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=5))
    heading(axes, measure)
    return figure


def lag_importance(table: pd.DataFrame, measure: str, beside: int) -> Figure:
    """Bars of every lag, the oldest row left; as high as a figure of ``beside`` features, within reason."""
    figure, (axes,) = blank(HALF, min(_height(min(beside, MOST_ROWS)), 4.6))
    lag = table["index"].to_numpy()
    axes.bar(-lag, table["mean"], yerr=_whiskers(table), color=_signs(table["mean"]), width=0.75, **_error_looks())
    axes.axhline(0.0, color=MUTED, lw=0.8)
    axes.grid(False, axis="x")
    axes.margins(x=0.01)
    _lags(axes, len(lag), first=1 - len(lag))
    heading(axes, measure)
    return figure


def gradient_map(gradient_NWF: Array, features: Sequence[str]) -> Figure:
    """Mean absolute gradient of each feature and step, the features that move scores most on top."""
    size_FW = np.abs(gradient_NWF).mean(axis=0).T
    order = np.argsort(-size_FW.sum(axis=1), kind="stable")[:MOST_ROWS]
    figure, (axes,) = blank(WIDE, 1.0 + 0.19 * max(len(order), 6))
    _heat(axes, size_FW[order], norm=Normalize(0.0, _top(size_FW)), steps=True)
    name_rows(axes, np.arange(len(order)), [features[f] for f in order])
    heading(axes, "Mean |d score / d input|")
    return figure


def gradient_of_one(gradient_WF: Array, features: Sequence[str]) -> Figure:
    """Gradient of one instrument with its sign, features in their order."""
    order = np.sort(np.argsort(-np.abs(gradient_WF).sum(axis=0), kind="stable")[:MOST_ROWS])
    figure, (axes,) = blank(HALF, 1.0 + 0.17 * max(len(order), 6))
    top = _top(np.abs(gradient_WF))
    _heat(axes, gradient_WF.T[order], norm=TwoSlopeNorm(0.0, -top, top), steps=True)
    name_rows(axes, np.arange(len(order)), [features[f] for f in order])
    heading(axes, "d score / d input")
    return figure


def hidden_map(h_NWH: Array) -> Figure:
    """Mean over instruments of each unit, and how far instruments differ in it."""
    mean_HW, spread_HW = h_NWH.mean(axis=0).T, h_NWH.std(axis=0).T
    order = np.argsort(-mean_HW[:, -1], kind="stable")
    figure, (level, spread) = blank(WIDE, 3.3, columns=2)
    top = _top(np.abs(mean_HW))
    _heat(level, mean_HW[order], norm=TwoSlopeNorm(0.0, -top, top), steps=True)
    _heat(spread, spread_HW[order], norm=Normalize(0.0, _top(spread_HW)), steps=True)
    for axes, text in ((level, "Mean over instruments"), (spread, "Standard deviation over instruments")):
        heading(axes, text)
        _units(axes, len(order))
    return figure


def correlation_map(value_WW: Array) -> Figure:
    """Correlation of the states of each two steps."""
    figure, (axes,) = blank(HALF, 3.9)
    _heat(axes, value_WW, norm=TwoSlopeNorm(0.0, -1.0, 1.0), steps=True)
    _lag_rows(axes, len(value_WW))
    heading(axes, "Correlation of the states of two steps")
    return figure


def gate_maps(gates: Mapping[str, Array]) -> Figure:
    """Mean over instruments of each unit's gates [N, W, H], side by side; units in one order for all."""
    figure, grid = blank(WIDE, 3.0, columns=len(gates))
    means = {name: gate_NWH.mean(axis=0).T for name, gate_NWH in gates.items()}
    first = next(iter(means.values()))
    order = np.argsort(-first[:, -1], kind="stable")
    for axes, (name, mean_HW) in zip(grid, means.items(), strict=True):
        middle = 0.0 if name in SIGNED else 0.5
        reach = _top(np.abs(mean_HW - middle))
        _heat(axes, mean_HW[order], norm=TwoSlopeNorm(middle, middle - reach, middle + reach), steps=True)
        _units(axes, len(order))
        heading(axes, f"{name}, mean {number(float(mean_HW.mean()), 2)}")
    return figure


def attention_over_time(weight_NW: Array, score_N: Array) -> Figure:
    """Mean weight of each step, above the weights of every instrument, highest scores on top."""
    figure, (mean, every) = blank(WIDE, 4.4, rows=2, heights=(2, 3))
    steps = weight_NW.shape[1]
    place = np.arange(steps)
    low, high = np.quantile(weight_NW, [0.1, 0.9], axis=0)
    mean.fill_between(place, low, high, color=SKY, alpha=0.45, lw=0, step="mid")
    mean.plot(place, weight_NW.mean(axis=0), color=BLUE, lw=1.7, drawstyle="steps-mid")
    mean.axhline(1.0 / steps, color=RUST, lw=1.0)
    mean.set_title("equal weights", loc="right", fontsize=TEXT, color=RUST)
    mean.set_xlim(-0.5, steps - 0.5)
    mean.set_ylim(bottom=0.0)
    _lags(mean, steps)
    mean.set_xlabel("")
    heading(mean, "Mean, and the middle 80% of instruments")
    _weights(every, weight_NW[np.argsort(-score_N, kind="stable")], steps=True)
    _by_score(every)
    heading(every, f"Every instrument: {RELATIVE}")
    return figure


def attention_among_instruments(weight_NN: Array, score_N: Array) -> Figure:
    """Whom each instrument attends to, both in the order of the scores."""
    order = np.argsort(-score_N, kind="stable")
    figure, (axes,) = blank(WIDE, 5.2)
    _weights(axes, weight_NN[np.ix_(order, order)], steps=False)
    _by_score(axes)
    axes.set_xticks([])
    axes.set_xlabel("attended to: highest scores left, lowest right", fontsize=TEXT, color=MUTED)
    heading(axes, RELATIVE.capitalize())
    return figure


def attention_between_steps(weight_WW: Array) -> Figure:
    """Which step attends to which, mean over instruments and heads."""
    figure, (axes,) = blank(HALF, 3.9)
    _weights(axes, weight_WW, steps=True)
    _lag_rows(axes, len(weight_WW))
    axes.set_ylabel("step that attends", fontsize=TEXT, color=MUTED)
    axes.set_xlabel("step attended to", fontsize=TEXT, color=MUTED)
    heading(axes, RELATIVE.capitalize())
    return figure


def attention_to_places(weight_NP: Array, score_N: Array) -> Figure:
    """Weights of every instrument on what the network numbers (concepts, heads), highest scores on top."""
    figure, (axes,) = blank(WIDE, 3.6)
    _weights(axes, weight_NP[np.argsort(-score_N, kind="stable")], steps=False)
    _by_score(axes)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=10))
    axes.set_xlabel("number in the network", fontsize=TEXT, color=MUTED)
    heading(axes, RELATIVE.capitalize())
    return figure


def _weights(axes: Axes, weight: Array, *, steps: bool) -> None:
    """Draw weights as multiples of what each would be if all of a row were equal."""
    multiple = weight * weight.shape[1]
    low, high = np.quantile(multiple, [0.005, 0.995])
    reach = max(1.0 - low, high - 1.0, 0.01)
    few = reach > 1.0  # a few that count among many that hardly do
    norm = Normalize(0.0, high) if few else TwoSlopeNorm(1.0, 1.0 - reach, 1.0 + reach)
    _heat(axes, multiple, norm=norm, steps=steps)


def _heat(axes: Axes, value: Array, *, norm: Normalize, steps: bool) -> None:
    """Draw rows from the top, as one picture, with its scale beside it."""
    colours = DIVERGING if isinstance(norm, TwoSlopeNorm) else SEQUENTIAL
    image = axes.imshow(np.ma.masked_invalid(value), cmap=colours, norm=norm, aspect="auto", interpolation="none")
    axes.grid(False)
    for spine in axes.spines.values():
        spine.set_visible(False)
    if steps:
        _lags(axes, value.shape[1])
    assert axes.figure is not None
    scale = axes.figure.colorbar(image, ax=axes, pad=0.015, fraction=0.035, aspect=30)
    scale.outline.set_visible(False)
    scale.ax.tick_params(labelsize=TEXT, colors=MUTED, length=0)
    scale.locator = MaxNLocator(nbins=4)
    scale.update_ticks()


def _lags(axes: Axes, steps: int, *, first: int = 0) -> None:
    """Mark the columns of steps by lag, newest right; ``first`` is the place of the oldest one."""
    lags = _lag_ticks(steps)
    axes.set_xticks([first + steps - 1 - lag for lag in lags], [str(lag) for lag in lags])
    axes.set_xlabel(LAG_TEXT, fontsize=TEXT, color=MUTED)


def _lag_rows(axes: Axes, steps: int) -> None:
    lags = _lag_ticks(steps)
    axes.set_yticks([steps - 1 - lag for lag in lags], [str(lag) for lag in lags])


def _lag_ticks(steps: int) -> list[int]:
    stride = next(width for width in (1, 2, 5, 10, 20, 50, 100, 1000) if steps / width <= 13)
    return list(range(0, steps, stride))


def _units(axes: Axes, units: int) -> None:
    axes.set_yticks([])
    axes.set_ylabel(f"{units} units", fontsize=TEXT, color=MUTED)


def _by_score(axes: Axes) -> None:
    axes.set_yticks([])
    axes.set_ylabel("lowest to highest score", fontsize=TEXT, color=MUTED)


def _height(features: int) -> float:
    return 0.9 + 0.17 * max(features, 12)


def _top(value: Array) -> float:
    """The end of a scale: a few extreme cells do not pale all others."""
    known = value[np.isfinite(value)]
    return float(np.quantile(known, 0.995)) or float(known.max(initial=0.0)) or 1e-12


def _signs(value: pd.Series[float]) -> list[str]:
    return [BLUE if each >= 0 else RUST for each in value.fillna(0.0)]


def _whiskers(table: pd.DataFrame) -> Any:
    return None if table["std"].isna().all() else table["std"].fillna(0.0)


def _error_looks() -> dict[str, Any]:
    return {"ecolor": INK, "error_kw": {"elinewidth": 0.8, "capsize": 0}}
