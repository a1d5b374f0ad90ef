"""The page: on a desk, on a phone, on paper."""

from __future__ import annotations

import re

from matplotlib.figure import Figure

from raybench.page import canvas
from raybench.page.html import Card, Drawing, Page, to_html


def draw() -> Figure:
    figure, both = canvas.blank(canvas.WIDE, 3.0, columns=2)
    for axes in both:
        axes.plot([0.0, 1.0], color=canvas.BLUE, marker="o")
        canvas.heading(axes, "a line")
    return figure


def page(*, wide: bool) -> str:
    return to_html(
        Page(
            kind="test",
            title="t" * 300,
            subtitle="s",
            cards=[Card(name="one", value="1", means="a number", apart=True)],
            drawings=[Drawing(name="d", means="m", draw=draw, wide=wide)],
            rules="r",
            inputs={"path": "/x" * 200},
            notes=["first <this>"],
        )
    )


def widths(text: str) -> list[float]:
    return [round(float(width) / 72, 3) for width in re.findall(r'viewBox="0 0 ([\d.]+) ', text)]


def test_a_wide_drawing_is_there_for_a_phone_too() -> None:
    found = page(wide=True)
    assert widths(found) == [canvas.WIDE, canvas.HALF]
    assert "@media screen and (max-width: 860px)" in found
    assert "min-width: 720px" not in found
    assert "overflow-x" not in found


def test_ids_of_the_two_are_different() -> None:
    desk, phone = re.findall(r"<svg.*?</svg>", page(wide=True), flags=re.DOTALL)
    made = [set(re.findall(r'id="([mp][0-9a-f]{10})"', each)) for each in (desk, phone)]
    assert made[0]
    assert not made[0] & made[1]


def test_columns_stand_below_each_other_on_a_phone() -> None:
    with canvas.narrow():
        figure, (first, second) = canvas.blank(canvas.WIDE, 3.0, columns=2)
        assert canvas.is_narrow()
    assert not canvas.is_narrow()
    figure.draw_without_rendering()
    assert first.get_position().y0 > second.get_position().y1
    assert figure.get_figwidth() == canvas.HALF


def test_paper_is_a4_and_light() -> None:
    found = page(wide=False)
    assert "@page { size: A4" in found
    assert "@media screen and (prefers-color-scheme: dark)" in found
    assert widths(found) == [canvas.WIDE]


def test_notes_stand_before_the_figures() -> None:
    found = page(wide=False)
    assert found.index("<li>first &lt;this&gt;</li>") < found.index('<article class="card apart">')
