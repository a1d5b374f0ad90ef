"""The page: on a desk, on a phone, on paper."""

from __future__ import annotations

import re

import pytest
from matplotlib.figure import Figure

from raybench.reports import canvas
from raybench.reports.html import Drawing, FigureCard, Page, Table, to_html


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
            cards=[FigureCard(name="one", value="1", means="a number", apart=True)],
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
    assert 'class="scroll"' not in found


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


def with_table(columns: list[str], rows: list[list[str]], *, wide: bool = True) -> str:
    table = Table(name="a & b", means="how <to> read it", columns=columns, rows=rows, wide=wide)
    drawings = [table, Drawing(name="d", means="m", draw=draw)]
    page = Page(kind="t", title="t", subtitle="s", cards=[], drawings=drawings, rules="r", inputs={})
    return to_html(page)


def test_a_table_has_its_rows_escaped_and_scrolls_by_itself() -> None:
    found = with_table(["name", "<b>"], [["<script>", "a\u202eb"], ["GRU", "x & y"]])
    shown = found[found.index("<figure class=wide>") : found.index("</figure>")]
    assert "<h2>a &amp; b</h2><p>how &lt;to&gt; read it</p>" in shown
    assert '<div class="scroll" tabindex="0" role="region" aria-label="a &amp; b"><table>' in shown
    assert '<thead><tr><th scope="col">name</th><th scope="col">&lt;b&gt;</th></tr></thead>' in shown
    assert '<tr><th scope="row">&lt;script&gt;</th><td>a\N{REPLACEMENT CHARACTER}b</td></tr>' in shown
    assert '<tr><th scope="row">GRU</th><td>x &amp; y</td></tr></tbody>' in shown
    assert found.index("</table>") < found.index("<svg")  # in the order that was given
    assert ".scroll { overflow-x: auto; }" in found
    assert "<figure><figcaption><h2>a" in with_table(["n"], [["1"]], wide=False)


@pytest.mark.parametrize(
    "cells",
    [
        ["1", "\N{MINUS SIGN}2.5", ""],
        ["0.0412 ± 0.0008", "n/a"],
        ["0.04 ± n/a", "+2.1 ▲"],
        ["12 %", "3%", "1,024"],
        ["12 s", "3 MiB"],
        ["1e-05", "2.5e\N{MINUS SIGN}3"],
    ],
)
def test_figures_stand_to_the_right(cells: list[str]) -> None:
    found = with_table(["name", "value"], [["x", cell] for cell in cells])
    assert '<th scope="col" class=figure>value</th>' in found
    assert found.count("<td class=figure>") == len(cells)
    assert '<th scope="row">x</th>' in found


@pytest.mark.parametrize("cells", [["1", "two"], ["", "n/a"], ["2layer"], [], ["1.0", "nan of 3"]])
def test_text_stands_to_the_left(cells: list[str]) -> None:
    found = with_table(["name", "value"], [["x", cell] for cell in cells])
    assert "class=figure" not in found


def test_a_row_has_as_many_cells_as_there_are_columns() -> None:
    with pytest.raises(ValueError, match="zip"):
        with_table(["name", "value"], [["x", "1", "2"]])
