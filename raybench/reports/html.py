"""A report as one HTML page that needs no network: cards of figures, drawings, tables, and what they were made from.

Drawings are SVG within the page; the colours of ``canvas`` become CSS variables, so the page has a light and
a dark dress. A wide drawing is there twice, the second time for a narrow screen; the page shows one of them. On
paper it is A4. Equal content gives equal bytes: nothing here looks at the clock.
"""

from __future__ import annotations

import io
import math
import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from string import Template

import matplotlib as mpl
from matplotlib.figure import Figure

from raybench.reports import canvas
from raybench.reports.text import to_text

# A figure as it is written in a cell: 0.0412, -1.2e-5, 12 %, 0.0412 ± 0.0008, 12 s, and a mark after it.
_WRITTEN = re.compile(
    r"[+\-\N{MINUS SIGN}]?\d[\d.,]*(e[+\-\N{MINUS SIGN}]?\d+)?( ?%)?( ± (\d[\d.,]*|n/a))?( [a-zA-Z]{1,3})?\W*"
)
_NOT_KNOWN = frozenset({"", "n/a", "—"})
_VARIABLES = {
    canvas.INK: "ink",
    canvas.MUTED: "muted",
    canvas.GRID: "grid",
    canvas.BLUE: "blue",
    canvas.RUST: "rust",
    canvas.SKY: "sky",
    **{colour: f"fifth-{k + 1}" for k, colour in enumerate(canvas.FIFTHS)},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class FigureCard:
    """One number, and what it means. ``apart``: in a row of its own, after all others."""

    name: str
    value: str
    means: str
    note: str = ""
    lead: bool = False
    apart: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawing:
    """One figure, made when it is needed, and how to read it."""

    name: str
    means: str
    draw: Callable[[], Figure]
    wide: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Rows of cells, text or figures as they are to be read, and how to read them.

    The first column names the row. A column of figures stands to the right. A table that is too broad for the
    screen scrolls by itself. Each row has as many cells as there are ``columns``.
    """

    name: str
    means: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    wide: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """What a page shows.

    kind: what sort of report, in a word or two. subtitle: HTML. rules: how the numbers are to be taken.
    inputs: what they were made from and with, listed at the foot. notes: what a reader has to know first.
    """

    kind: str
    title: str
    subtitle: str
    cards: Sequence[FigureCard]
    drawings: Sequence[Drawing | Table]
    rules: str
    inputs: Mapping[str, str]
    notes: Sequence[str] = ()


def to_html(page: Page) -> str:
    """Write the page."""
    template = resources.files("raybench.reports").joinpath("page.html").read_text(encoding="utf-8")
    return Template(template).substitute(
        kind=to_text(page.kind),
        title=to_text(page.title),
        subtitle=page.subtitle,
        notes=_notes(page.notes),
        cards="\n".join(map(_card, page.cards)),
        figures="\n".join(map(_shown, page.drawings)),
        about=_about(page),
    )


def svg(figure: Figure, salt: str = "raybench") -> str:
    """A figure as an SVG element whose colours are the page's variables; ``salt`` tells apart the ids of two."""
    buffer = io.StringIO()
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": salt}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from")  # letters are the browser's to draw
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r'^<svg ([^>]*?)width="[^"]*"', r"<svg \1", text, count=1)
    text = re.sub(r'^<svg ([^>]*?)height="[^"]*"', r"<svg \1", text, count=1)
    for colour, name in _VARIABLES.items():
        text = text.replace(colour, f"var(--{name})")
    return text


def number(value: float, digits: int) -> str:
    """Write a number with a true minus sign; what is not known is n/a."""
    return f"{value:.{digits}f}".replace("-", "\N{MINUS SIGN}") if math.isfinite(value) else "n/a"


def percent(value: float) -> str:
    """Write a share as a percentage."""
    return f"{value:.1%}".replace("-", "\N{MINUS SIGN}") if math.isfinite(value) else "n/a"


def _card(card: FigureCard) -> str:
    note = f"<small>{to_text(card.note)}</small>" if card.note else ""
    looks = " ".join(["card", *(["lead"] if card.lead else []), *(["apart"] if card.apart else [])])
    return (
        f'<article class="{looks}"><h2>{to_text(card.name)}</h2>'
        f'<div class="value">{to_text(card.value)}{note}</div><p>{to_text(card.means)}</p></article>'
    )


def _shown(what: Drawing | Table) -> str:
    shown = _table(what) if isinstance(what, Table) else _drawing(what)
    caption = f"<figcaption><h2>{to_text(what.name)}</h2><p>{to_text(what.means)}</p></figcaption>"
    return f"<figure{' class=wide' if what.wide else ''}>{caption}{shown}</figure>"


def _drawing(drawing: Drawing) -> str:
    looks = f'role="img" aria-label="{to_text(drawing.name)}"'
    shown = f'<div class="drawing" {looks}>{svg(drawing.draw())}</div>'
    if drawing.wide:
        with canvas.narrow():
            small = svg(drawing.draw(), "narrow")
        shown += f'<div class="drawing narrow" {looks}>{small}</div>'
    return shown


def _table(table: Table) -> str:
    right = [_is_of_figures([row[k] for row in table.rows]) for k in range(len(table.columns))]
    looks = [" class=figure" if figures else "" for figures in right]
    head = "".join(f'<th scope="col"{look}>{to_text(c)}</th>' for c, look in zip(table.columns, looks, strict=True))
    body = "".join(f"<tr>{_cells(row, looks)}</tr>" for row in table.rows)
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{to_text(table.name)}">'
        f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _cells(row: Sequence[str], looks: Sequence[str]) -> str:
    first, *others = (f"{look}>{to_text(cell)}" for cell, look in zip(row, looks, strict=True))
    return f'<th scope="row"{first}</th>' + "".join(f"<td{cell}</td>" for cell in others)


def _is_of_figures(cells: Sequence[str]) -> bool:
    known = [cell for cell in cells if cell not in _NOT_KNOWN]
    return bool(known) and all(_WRITTEN.fullmatch(cell) for cell in known)


def _notes(notes: Sequence[str]) -> str:
    items = "".join(f"<li>{to_text(note)}</li>" for note in notes)
    return f'<ul class="notes">{items}</ul>' if items else ""


def _about(page: Page) -> str:
    items = "".join(f"<dt>{to_text(k)}</dt><dd>{to_text(v)}</dd>" for k, v in page.inputs.items())
    return f"<p>{to_text(page.rules)}</p><dl>{items}</dl>"
