"""How figures look: colours, sizes, and an empty figure to draw on. Nothing here shows or saves.

Colours are the named constants below and no others except within heat maps, so that a page can replace
them by its own (light and dark).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

from raybench.reports.text import printable

INK, MUTED, GRID = "#1c2128", "#6a7380", "#e3e6ea"
BLUE, RUST, SKY = "#2b5c8f", "#bd6a35", "#7ea6cf"
FIFTHS = ("#b4532f", "#d79a6c", "#a7adb5", "#7ba3cc", "#265a92")  # lowest to highest scores

WIDE, HALF = 8.9, 4.3  # inches; equal scale on the page, so that letters are of one size
TEXT = 8.0
LONGEST_NAME = 28  # letters of a name beside a row
DIVERGING = LinearSegmentedColormap.from_list("rust-blue", ["#b2512d", "#ecd9cb", "#f4f4f2", "#cddceb", "#255991"])
SEQUENTIAL = LinearSegmentedColormap.from_list("blues", ["#f4f4f2", "#bcd2e8", "#6f9fd0", "#2b5c8f", "#12304f"])


_NARROW: ContextVar[bool] = ContextVar("narrow", default=False)


@contextmanager
def narrow() -> Iterator[None]:
    """Within this, what would be WIDE becomes HALF, its columns one below the other: for a phone."""
    before = _NARROW.set(True)
    try:
        yield
    finally:
        _NARROW.reset(before)


def is_narrow() -> bool:
    """Say whether a wide figure is to be a narrow one."""
    return _NARROW.get()


def blank(
    width: float,
    height: float,
    *,
    rows: int = 1,
    columns: int = 1,
    heights: Iterable[float] | None = None,
    share_x: bool = False,
) -> tuple[Figure, list[Axes]]:
    """Make a transparent figure with its axes, row by row."""
    if is_narrow() and width > HALF:
        width, height, rows, columns = HALF, height * (1 + 0.85 * (columns - 1)), rows * columns, 1
    figure = Figure(figsize=(width, height), layout="constrained")
    figure.patch.set_alpha(0.0)
    ratios = None if heights is None else list(heights)
    grid: Any = figure.subplots(rows, columns, squeeze=False, sharex=share_x, height_ratios=ratios)
    for axes in grid.flat:
        axes.patch.set_alpha(0.0)
        axes.grid(True, color=GRID, lw=0.8)
        axes.set_axisbelow(True)
        axes.tick_params(labelsize=TEXT, colors=MUTED, length=0, pad=5)
        for name, spine in axes.spines.items():
            spine.set_visible(name == "bottom")
            spine.set_color(GRID)
    return figure, list(grid.flat)


def nothing(width: float, text: str) -> Figure:
    """Make a figure that says why there is nothing to see."""
    figure, (axes,) = blank(width, 1.0)
    axes.set_axis_off()
    axes.text(0.5, 0.5, text, color=MUTED, fontsize=TEXT, ha="center", va="center", transform=axes.transAxes)
    return figure


def heading(axes: Axes, text: str) -> None:
    """Say at the top left what axes show."""
    axes.set_title(text, loc="left", fontsize=TEXT, color=MUTED)


def name_rows(axes: Axes, place: Any, names: Iterable[str]) -> None:
    """Put names that somebody else chose at rows: as they are, no formula for a dollar sign, and not too long."""
    axes.set_yticks(place, [printable(name, LONGEST_NAME) for name in names], parse_math=False)


def legend(axes: Axes, **place: Any) -> None:
    """Name the lines of axes."""
    looks: dict[str, Any] = {"loc": "best", "fontsize": TEXT, "frameon": False, "labelcolor": INK}
    axes.legend(**(looks | {"handlelength": 1.2, "borderaxespad": 0.2} | place))
