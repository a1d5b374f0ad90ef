"""Names that somebody else chose do nothing on a page, and no figure stumbles over them."""

from __future__ import annotations

import json
import warnings
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from raybench.evaluation.evaluation import evaluate
from raybench.evaluation.report import EvaluationReport as Evaluated
from raybench.evaluation.report import to_html as evaluation_page
from raybench.evaluation.report import to_json
from raybench.explanation import figures
from raybench.explanation.explanation import explain_section
from raybench.explanation.importance import measure_importance
from raybench.explanation.report import ExplanationReport as Explained
from raybench.explanation.report import to_html as explanation_page
from raybench.market.synthetic import make_market
from raybench.reports.text import printable, to_text
from tests.explanation.made_up import MadeUp, Planted, section

HOSTILE = (
    "<script>alert(1)</script>",
    "\"><img src=x onerror='alert(1)'>",
    "$\\frac{1}{$",
    "$$x_{$",
    "a\x00b\x07\x1b[31m",
    "two\nlines\ttabs",
    "back\\slash\\n",
    "very long " * 60,
    "\u202egnp.exe\u2066",
    "אב גד",
    "贵州茅台",
    "&amp;&#60;",
    "]]><!-- --></svg></style>",
    "_hidden",
)
KNOWN_TAGS = frozenset(
    [
        "html",
        "head",
        "meta",
        "title",
        "style",
        "body",
        "main",
        "header",
        "div",
        "h1",
        "h2",
        "p",
        "section",
        "article",
        "small",
        "figure",
        "figcaption",
        "dl",
        "dt",
        "dd",
        "ul",
        "li",
        "code",
        "svg",
        "defs",
        "g",
        "path",
        "use",
        "clippath",
        "rect",
        "image",
        "text",
        "tspan",
        "lineargradient",
        "stop",
        "footer",
        "span",
    ]
)
LETTERS = frozenset("<>&\"'")


class Parsed(HTMLParser):
    """What a browser would find on a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.text = ""
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}
        for name, value in attrs:
            if name in ("href", "xlink:href", "src"):
                assert (value or "").startswith(("#", "data:image/")), value

    def handle_data(self, data: str) -> None:
        self.text += data


def inert(page: str) -> Parsed:
    """Assert that there is nothing on a page but what pages are made of."""
    page.encode()
    found = Parsed(page)
    assert found.tags <= KNOWN_TAGS, found.tags - KNOWN_TAGS
    assert not {name for name in found.attributes if name.startswith("on")}
    assert not [letter for letter in page if ord(letter) < 32 and letter not in "\n\t\r"]
    assert "\u202e" not in page
    return found


@pytest.fixture
def hostile_explanation() -> Explained:
    torch.manual_seed(0)
    width = len(HOSTILE)
    day = section("2020-01-02", samples=len(HOSTILE) + 20, features=width)
    names = np.array([*HOSTILE, *(f"I{n}" for n in range(20))])
    day = type(day)(moment=day.moment, instrument_N=names, inputs=day.inputs, label_N=day.label_N)
    network: nn.Module = Planted()
    subject = MadeUp(network, HOSTILE, [day])
    importance = measure_importance(subject, day.moment, day.moment + 1, repeats=2, seed=0)
    explanation = explain_section(subject, day, importance)
    inputs = {name: name for name in HOSTILE}
    return Explained(explanation=explanation, title=HOSTILE[1], span=HOSTILE[0], named=HOSTILE[:3], inputs=inputs)


def test_an_explanation_of_hostile_names_is_inert(hostile_explanation: Explained) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = inert(explanation_page(hostile_explanation))
    assert "<script>alert(1)</script>" in found.text
    assert "贵州茅台" in found.text
    assert "$\\frac{1}{$" in found.text


def test_an_evaluation_of_hostile_names_is_inert() -> None:
    market = make_market(seed=2, instruments=len(HOSTILE) + 5, years=1)
    seen = [name for name in HOSTILE if name.isprintable()]  # others are refused as names of instruments
    names = dict(zip(sorted(market.bars["instrument"].unique()), seen, strict=False))
    bars = market.bars.assign(instrument=market.bars["instrument"].replace(names))
    signal = market.signal.dropna().rename(columns={"signal": "score"})
    scores = signal.assign(instrument=signal["instrument"].replace(names))
    result = evaluate(scores, bars, start=market.calendar[30], end=market.calendar[90])
    assert pd.notna(result.metrics["Rank IC"])
    report = Evaluated(evaluation=result, title=HOSTILE[0], inputs={name: name for name in HOSTILE})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = inert(evaluation_page(report))
    assert "<script>alert(1)</script>" in found.text
    assert json.loads(to_json(report))["title"] == HOSTILE[0]


@pytest.mark.parametrize("name", HOSTILE)
def test_a_figure_names_its_rows_as_they_are(name: str) -> None:
    table = pd.DataFrame({"name": [name, "b"], "mean": [0.2, 0.1], "std": [0.01, 0.02]})
    figure = figures.feature_importance(table, "drop")
    figure.canvas.draw_idle()
    (axes,) = figure.axes
    shown = [label.get_text() for label in axes.get_yticklabels()]
    assert shown == ["b", printable(name, 28)]
    assert not any(label.get_parse_math() for label in axes.get_yticklabels())


@pytest.mark.parametrize("name", [*HOSTILE, "\ud800 half of a letter, as in paths"])
def test_text_of_html_has_no_markup(name: str) -> None:
    assert not LETTERS & set(to_text(name)) - {"&"}
    assert to_text(name).encode()
    assert len(printable(name, 10)) <= 10
    assert printable("plain 名 é") == "plain 名 é"
