"""The report: self-contained, complete, reproducible, and drawn whatever is missing."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest

from raybench.evaluation import figures
from raybench.evaluation.evaluation import Evaluation, evaluate
from raybench.evaluation.report import EvaluationReport, metrics_json, to_html, to_json
from raybench.market.synthetic import make_market

HISTORY = pd.DataFrame(
    {
        "epoch": [1, 2, 3],
        "train_loss": [1.0, 0.9, 0.85],
        "valid_loss": [1.0, 0.95, 0.96],
        "valid_rank_ic": [0.01, 0.05, 0.04],
    }
)


def evaluation(dates: int) -> Evaluation:
    market = make_market(seed=2, instruments=25, years=1)
    scores = market.signal.dropna().rename(columns={"signal": "score"})
    return evaluate(scores, market.bars, start=market.calendar[30], end=market.calendar[29 + dates])


@pytest.fixture(scope="module")
def report() -> EvaluationReport:
    return EvaluationReport(
        evaluation=evaluation(150), title="Scores <of> a & b", inputs={"Scores": "s3://bucket/scores"}, history=HISTORY
    )


@pytest.fixture(scope="module")
def page(report: EvaluationReport) -> str:
    return to_html(report)


def test_page_needs_no_network(page: str) -> None:
    links = re.findall(r"""(?:src|href)\s*=\s*["']([^"']*)|url\(["']?([^)"']*)|@import""", page)
    assert {a or b for a, b in links if not (a or b).startswith("#")} == set()
    assert "<script" not in page
    assert len(page) < 1_500_000


def test_page_is_well_formed_and_escapes_what_it_is_given(page: str) -> None:
    open_tags: list[str] = []
    wrong: list[str] = []

    class Checker(HTMLParser):
        def handle_starttag(self, tag: str, attrs: object) -> None:
            if tag not in {"meta"}:
                open_tags.append(tag)

        def handle_endtag(self, tag: str) -> None:
            if open_tags.pop() != tag:
                wrong.append(tag)

    Checker().feed(page)
    assert (open_tags, wrong) == ([], [])
    assert "Scores &lt;of&gt; a &amp; b" in page
    assert "Scores <of>" not in page


def test_page_shows_metrics_panels_and_inputs(report: EvaluationReport, page: str) -> None:
    metrics = report.evaluation.metrics
    for text in (f"{metrics['Rank IC']:.4f}", f"{metrics['Rank ICIR']:.3f}", "s3://bucket/scores", "252", "238"):
        assert text in page
    assert page.count("<figure") == 10
    assert page.count("<svg") == 10 + page.count("<figure class=wide") == 14
    assert "attainable" not in page
    assert "of 0.1234 attainable" in to_html(replace(report, attainable_rank_ic=0.1234))


def test_without_a_run_there_are_no_loss_curves(report: EvaluationReport) -> None:
    assert to_html(replace(report, history=None)).count("<figure") == 9


def test_colours_come_from_the_page(page: str) -> None:
    drawings = "".join(re.findall(r"<svg.*?</svg>", page, flags=re.DOTALL))
    assert "var(--blue)" in drawings
    assert figures.BLUE not in drawings
    names = set(re.findall(r"var\(--([a-z0-9-]+)\)", page))
    assert names <= set(re.findall(r"--([a-z0-9-]+):", page))


def test_equal_content_gives_equal_bytes(report: EvaluationReport, page: str) -> None:
    assert to_html(report) == page
    assert to_json(report) == to_json(report)


def test_json_holds_what_the_page_shows(report: EvaluationReport) -> None:
    content = json.loads(to_json(report))
    assert content["metrics"] == pytest.approx(report.evaluation.metrics)
    assert len(content["daily"]["rank_ic"]) == 150
    assert content["history"]["epoch"] == [1, 2, 3]
    assert content["monthly_rank_ic"]["year"] == [2014]


@pytest.mark.parametrize("dates", [1, 2, 3])
def test_a_few_dates_are_drawn_too(dates: int) -> None:
    few = EvaluationReport(evaluation=evaluation(dates), title="few", history=HISTORY.iloc[:1])
    page = to_html(few)
    assert page.count("<figure") == 10
    assert "nan" not in re.sub(r"<svg.*?</svg>", "", page, flags=re.DOTALL).lower()
    json.loads(to_json(few))


DEGENERATE = {
    "constant scores": lambda s: s.assign(score=0.0),
    "one instrument": lambda s: s[s["instrument"] == s["instrument"].iloc[0]],
    "one date of equal scores": lambda s: s[s["datetime"] == s["datetime"].iloc[30]].assign(score=1.0),
    "three instruments": lambda s: s[s["instrument"].isin(sorted(set(s["instrument"]))[:3])],
}


@pytest.mark.parametrize("kind", DEGENERATE)
def test_what_has_no_ic_is_drawn_and_said(kind: str) -> None:
    market = make_market(seed=2, instruments=25, years=1)
    scores = market.signal.dropna().rename(columns={"signal": "score"}).sort_values(["datetime", "instrument"])
    result = evaluate(DEGENERATE[kind](scores), market.bars)
    assert result.warnings
    report = EvaluationReport(evaluation=result, title=kind)
    page = to_html(report)
    assert page.count("<figure") == 9
    assert "nan" not in re.sub(r"<svg.*?</svg>", "", page, flags=re.DOTALL).lower()
    json.loads(to_json(report))
    json.loads(metrics_json(result.metrics))


def test_a_training_without_rank_ic_is_drawn(report: EvaluationReport) -> None:
    unknown = replace(report, history=HISTORY.assign(valid_rank_ic=np.nan))
    assert to_html(unknown).count("<figure") == 10


def test_metrics_json_writes_null_for_what_is_not_known() -> None:
    assert json.loads(metrics_json({"IC": 0.5, "ICIR": float("nan")})) == {"IC": 0.5, "ICIR": None}
