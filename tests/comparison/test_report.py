"""The report: its files, equal bytes, names that somebody else chose, and figures of little and of much."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from raybench.comparison import figures
from raybench.comparison.report import write_report
from raybench.comparison.results import results_frame
from raybench.comparison.table import per_seed, table_rows
from raybench.reports import canvas
from raybench.reports.html import Table, svg
from tests.comparison import made_up

LONG = "a" * 60 + "$x_<script>"


def history(epochs: int) -> pd.DataFrame:
    epoch = np.arange(1, epochs + 1)
    return pd.DataFrame({"epoch": epoch, "valid_loss": 1.0 / epoch, "valid_rank_ic": 0.01 * epoch})


def written(out: Path, names: list[str], seeds: int, dates: int, **options: Any) -> dict[str, bytes]:
    write_report(str(out), *made_up.market(names, seeds, dates), **options)
    return {path.name: path.read_bytes() for path in sorted(out.iterdir())}


def test_equal_content_gives_equal_bytes(tmp_path: Path) -> None:
    options = {
        "histories": {"b": [history(3), history(1)]},
        "more": [Table(name="m", means="m", columns=["c"], rows=[])],
    }
    first = written(tmp_path / "1", ["a", "b"], 3, 40, **options)
    assert first == written(tmp_path / "2", ["a", "b"], 3, 40, **options)
    assert list(first) == ["report.html", "report.json", "table.csv", "table.md"]


def test_the_content_is_the_page_s(tmp_path: Path) -> None:
    files = written(tmp_path, ["a", "b"], 2, 5, notes=["<read this>"], inputs={"Folder": "x & y"}, title="A <title>")
    content, page = json.loads(files["report.json"]), files["report.html"].decode()
    assert [row["name"] for row in content["table"]] == sorted(
        ["a", "b"], key=lambda name: -np.mean([r["Rank IC"] for r in content["results"] if r["name"] == name])
    )
    assert content["table"][0]["published Rank IC mean"] is None
    assert len(content["daily_rank_ic"]["datetime"]) == 5
    assert content["warnings"] == ["<read this>"]
    assert "<li>&lt;read this&gt;</li>" in page
    assert "A &lt;title&gt;" in page
    assert "x &amp; y" in page


def test_names_and_errors_of_users_are_text(tmp_path: Path) -> None:
    results, daily = made_up.market([LONG], 2, 5)
    rows = [*results.to_dict("records"), made_up.failed("<img src=x>", 0, "<script>alert(1)</script>")]
    write_report(str(tmp_path), results_frame(rows), daily)
    page, text = (tmp_path / "report.html").read_text(), (tmp_path / "table.md").read_text()
    for shown in (page, text):
        assert "<script" not in shown
        assert "<img" not in shown
        assert "&lt;script&gt;alert(1)&lt;/script&gt;" in shown
    assert "1 fits failed" in page


@pytest.mark.parametrize(
    ("names", "seeds", "dates", "rolls"),
    [
        ([LONG], 1, 1, (None,)),
        (["_a$b$", LONG], 2, 3, ("2017", "2018")),
        ([f"gru_{k}" for k in range(20)], 6, 30, (None,)),
    ],
)
def test_figures_of_little_and_of_much(names: list[str], seeds: int, dates: int, rolls: Any) -> None:
    results, daily = made_up.market(names, seeds, dates, rolls)
    order = [row.name for row in table_rows(results, daily)]
    fits = per_seed(results, daily)
    drawn: list[Callable[[], Figure]] = [
        lambda: figures.rank_ic_by_name(fits, order),
        lambda: figures.against(fits, "seconds", order, "seconds of a fit"),
        lambda: figures.cumulative_rank_ic(daily, order),
        lambda: figures.learning_curves({names[0]: [history(1), history(4)]}, order),
        lambda: figures.by_roll(results, order, "Rank IC"),
        lambda: figures.by_roll(results, order, "IC"),
    ]
    for draw in drawn:
        assert "<svg" in svg(draw())
        with canvas.narrow():
            small = draw()
            assert small.get_figwidth() == canvas.HALF
            assert "<svg" in svg(small)


@pytest.mark.parametrize(("worst", "scale"), [(2.0, "linear"), (500.0, "log"), (float("nan"), "linear")])
def test_one_loss_that_went_astray_hides_no_other(worst: float, scale: str) -> None:
    astray = history(3).assign(valid_loss=[1.0, worst, 0.9])
    figure = figures.learning_curves({"a": [history(4)], "b": [astray]}, ["a", "b"])
    assert figure.axes[0].get_yscale() == scale


def test_nothing_is_known(tmp_path: Path) -> None:
    results = results_frame([made_up.failed("a", 0, "killed"), made_up.failed("b", 0, "killed")])
    daily = made_up.days("a", 0, [])
    rows = write_report(str(tmp_path), results, daily)
    assert [row.failed for row in rows] == [1, 1]
    assert "no fit has a Rank IC" in (tmp_path / "report.html").read_text()


def test_days_without_a_figure_are_not_drawn() -> None:
    daily = made_up.days("a", 0, [float("nan")] * 3)
    assert figures.daily_means(daily, ["a", "gone"]).isna().all().all()
    assert "no date has a Rank IC" in svg(figures.cumulative_rank_ic(daily, ["a"]))


def test_daily_means_are_over_the_seeds_that_have_the_date() -> None:
    daily = pd.concat([made_up.days("a", 0, [0.1, 0.3]), made_up.days("a", 1, [0.2, float("nan"), 0.5])])
    assert figures.daily_means(daily, ["a"])["a"].round(6).tolist() == [0.15, 0.3, 0.5]


def test_the_frontier_has_what_none_beats_for_less() -> None:
    cost, worth = np.array([1.0, 2.0, 2.0, 3.0, 4.0]), np.array([0.2, 0.3, 0.4, 0.4, 0.1])
    assert figures.frontier(cost, worth).tolist() == [0, 2]
