"""Figures of what is odd: networks that cost nothing, one of anything, names that are long or look like formulas."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from raybench.comparison import figures
from raybench.reports import canvas


def fits(parameters: dict[str, float], rank_ic: float = 0.03) -> pd.DataFrame:
    rows = [
        {"name": name, "seed": 0, "roll": None, "Rank IC": rank_ic + 0.001 * k, "parameters": count, "error": None}
        for k, (name, count) in enumerate(parameters.items())
    ]
    return pd.DataFrame(rows)


def drawn(figure: Figure) -> Axes:
    figure.draw_without_rendering()
    return figure.axes[0]


def ticks(axes: Axes) -> list[str]:
    low, high = axes.get_xlim()
    return [
        label.get_text()
        for place, label in zip(axes.get_xticks(), axes.get_xticklabels(), strict=True)
        if low <= place <= high
    ]


def points(axes: Axes) -> int:
    return len({tuple(pair) for line in axes.lines for pair in np.round(line.get_xydata(), 9).tolist()})


@pytest.mark.parametrize(
    ("parameters", "wanted"),
    [
        ({"persistence": 0.0, "linear": 158.0, "gru": 41_537.0}, ["0", "1,000", "10,000"]),
        ({"persistence": 0.0, "linear": 158.0}, ["0", "158"]),
        ({"persistence": 0.0}, ["0"]),
        ({"linear": 158.0, "gru": 41_537.0}, ["1,000", "10,000"]),
        ({"linear": 158.0, "wide": 1_580.0}, ["200", "500", "1,000"]),
    ],
)
def test_what_costs_nothing_has_a_place_of_its_own(parameters: dict[str, float], wanted: list[str]) -> None:
    axes = drawn(figures.against(fits(parameters), "parameters", list(parameters), "parameters"))
    assert ticks(axes) == wanted
    assert points(axes) == len(parameters)
    assert {text.get_text() for text in axes.texts} <= set(parameters)
    if 0.0 in parameters.values() and len(parameters) > 1:
        left, *others = sorted(float(x) for x in axes.lines[1].get_xdata())
        assert 0 < left < min(others) / 2


def test_ticks_of_few_parameters_do_not_touch() -> None:
    counts = dict(zip("abcdef", (20.0, 500.0, 5_000.0, 60_000.0, 448_257.0, 567_345.0), strict=True))
    axes = drawn(figures.against(fits(counts), "parameters", list(counts), "parameters"))
    boxes = [label.get_window_extent() for label in axes.get_xticklabels()]
    assert all(left.x1 < right.x0 for left, right in itertools.pairwise(boxes))


@pytest.mark.parametrize("narrow", [False, True])
def test_long_names_of_rolls_do_not_touch(narrow: bool) -> None:
    rolls = [f"{year}-01-01 to {year}-12-31" for year in range(2010, 2020)]
    table = pd.concat([fits({"gru": 1.0}).assign(roll=roll) for roll in rolls])
    if narrow:
        with canvas.narrow():
            axes = drawn(figures.by_roll(table, ["gru"], "Rank IC"))
    else:
        axes = drawn(figures.by_roll(table, ["gru"], "Rank IC"))
    boxes = [label.get_window_extent() for label in axes.get_xticklabels()]
    assert len(boxes) > 1
    assert all(left.x1 < right.x0 for left, right in itertools.pairwise(boxes))


def test_the_legend_of_a_narrow_figure_stays_within_it() -> None:
    names = [f"a_long_name_of_configuration_number_{k}" for k in range(8)]
    dates = pd.bdate_range("2020-01-01", periods=30)
    daily = pd.concat(
        [pd.DataFrame({"name": name, "datetime": dates, "seed": 0, "roll": None, "rank_ic": 0.1}) for name in names]
    )
    with canvas.narrow():
        figure = figures.cumulative_rank_ic(daily, names)
    figure.draw_without_rendering()
    box = figure.legends[0].get_window_extent()
    assert box.x0 >= 0
    assert box.x1 <= figure.bbox.x1


def test_names_that_look_like_formulas_or_hide() -> None:
    names = ["$x_1$", "_hidden", "a" * 200, "<b>"]
    figure = figures.rank_ic_by_name(fits(dict.fromkeys(names, 1.0)), names)
    figure.draw_without_rendering()
    shown = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert shown[:2] == ["$x_1$", "_hidden"]
    assert len(shown[2]) == canvas.LONGEST_NAME
