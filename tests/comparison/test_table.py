"""The table: its arithmetic by hand, what may be compared, and what is said of a row."""

from __future__ import annotations

import csv
import io
import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from raybench.comparison.published import PUBLISHED, SELECTED, Figure, features_of, joint_error, known_wrong, published
from raybench.comparison.results import results_frame
from raybench.comparison.table import table_frame, table_rows, tables, to_csv, to_markdown
from raybench.config import Config, load_config
from tests.comparison import made_up

CONFIGS = Path(__file__).parents[2] / "configs"


def config(name: str, **changes: Any) -> Config:
    return load_config(CONFIGS / f"{name}.yaml", {key.replace("__", "."): value for key, value in changes.items()})


def gru(rank_ic: list[float], **changes: Any) -> Any:
    results = results_frame(made_up.fit("gru", seed, **{"Rank IC": value}) for seed, value in enumerate(rank_ic))
    (row,) = table_rows(results, None, {"gru": config("gru_alpha360", **changes)})
    return row


def test_mean_deviation_and_distance_by_hand() -> None:
    row = gru([0.056, 0.058, 0.060])
    assert row.ours["Rank IC"].mean == pytest.approx(0.058)
    assert row.ours["Rank IC"].std == pytest.approx(0.002)
    assert row.theirs["Rank IC"] == Figure(0.0584, 0.0, 20)
    assert row.distance("Rank IC") == pytest.approx((0.058 - 0.0584) / (0.002 / math.sqrt(3)))
    assert row.mark("Rank IC") == ""
    joint = joint_error(Figure(0.0, 0.06, 3), Figure(0.0, 0.04, 20))
    assert joint == pytest.approx(math.sqrt(0.0036 / 3 + 0.0016 / 20))


def test_a_difference_of_more_than_two_errors_is_marked() -> None:
    far, rounding = gru([0.046, 0.048, 0.050]), gru([0.0560, 0.0565, 0.0570])
    assert far.distance("Rank IC") < -2
    assert far.mark("Rank IC") == "*"
    assert rounding.distance("Rank IC") == pytest.approx(-0.0019 / (0.0005 / math.sqrt(3)))
    assert abs(0.0019 / math.sqrt(0.0005**2 / 3 + 0.005**2 / 20)) < 2  # were the published 0.00 a 0.005
    assert rounding.mark("Rank IC") == "(*)"


def test_one_fit_has_neither_deviation_nor_distance() -> None:
    row = gru([0.05])
    assert math.isnan(row.ours["Rank IC"].std)
    assert math.isnan(row.distance("Rank IC"))
    assert row.mark("Rank IC") == ""
    assert list(tables([row])[1].rows[0][2:5]) == ["0.0500", "0.0584 ± 0.00", "n/a"]


def test_equal_fits_have_no_error_to_divide_by() -> None:
    assert math.isnan(gru([0.05, 0.05]).distance("Rank IC"))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"data__universe": "csi500"}, "universe csi500"),
        ({"data__label": "Ref($close, -1) / $close - 1"}, "label Ref($close, -1) / $close - 1"),
        ({"data__segments.test": ["2017-01-01", "2019-12-31"]}, "test 2017-01-01 to 2019-12-31"),
        (
            {"data__segments.test": ["2017-01-01", "2019-12-31"], "data__segments.train": ["2009-01-01", "2014-12-31"]},
            "other segments",
        ),
    ],
)
def test_other_settings_are_shown_without_a_mark(changes: dict[str, Any], said: str) -> None:
    row = gru([0.01, 0.011, 0.012], **changes)
    assert f"other data/settings than the published row: {said}" in row.note
    assert math.isnan(row.distance("Rank IC"))
    assert row.mark("Rank IC") == ""
    assert row.theirs is not None


def test_figures_of_some_test_dates_are_shown_without_a_mark() -> None:
    results = results_frame(made_up.fit("gru", seed, **{"Rank IC": 0.01 + seed / 1000}) for seed in range(3))
    configs = {"gru": config("gru_alpha360")}
    (whole,), (some,) = table_rows(results, None, configs), table_rows(results, None, configs, {"gru"})
    assert (whole.mark("Rank IC"), some.mark("Rank IC")) == ("*", "")
    assert some.note == "other data/settings than the published row: some of the test dates"
    assert whole.note == ""


def test_a_label_is_the_same_however_it_is_spaced() -> None:
    row = gru([0.01, 0.02], data__label="Ref($close,-2)/Ref($close,-1)-1")
    assert row.comparable


def test_which_configurations_have_published_figures() -> None:
    assert features_of(config("gru_alpha158")) == SELECTED
    assert features_of(config("gru_alpha158", **{"data__feature_set.columns": ["KMID"]})) is None
    assert published(config("gru_alpha158")) == PUBLISHED["gru", SELECTED]
    assert published(config("linear_alpha158")) == PUBLISHED["linear", "alpha158"]
    assert published(config("persistence_alpha158")) is None
    assert published(config("krnn_alpha158")) is None


def test_every_published_row_is_one_of_a_network_here() -> None:
    from raybench.config.networks import NETWORKS

    assert {model for model, _ in PUBLISHED} <= set(NETWORKS)
    for figures in PUBLISHED.values():
        assert 0 < figures["IC"].mean < figures["ICIR"].mean
        assert 0 < figures["Rank IC"].mean < figures["Rank ICIR"].mean
        assert all(figure.seeds == 20 and 0 <= figure.std < 0.1 for figure in figures.values())


@pytest.mark.parametrize("name", ["krnn_alpha360", "sandwich_alpha360", "tcn_alpha158", "gats_alpha158"])
def test_rows_that_are_known_to_be_wrong_say_why(name: str) -> None:
    known = known_wrong(config(name))
    assert known is not None
    assert known.startswith("published row is of")


@pytest.mark.parametrize("name", ["tcn_alpha360", "gats_alpha360", "gru_alpha158"])
def test_and_no_others(name: str) -> None:
    assert known_wrong(config(name)) is None


def test_failed_fits_are_counted_and_in_no_mean() -> None:
    rows = [made_up.fit("gru", 0, **{"Rank IC": 0.02}), made_up.failed("gru", 1, "out of memory")]
    rows += [made_up.fit("gru", 2, **{"Rank IC": 0.04}), made_up.failed("lost", 0, "NaN | <b>")]
    lost, good = (r := table_rows(results_frame(rows)))[1], r[0]
    assert (good.fits, good.failed, good.ours["Rank IC"].mean) == (2, 1, pytest.approx(0.03))
    assert good.note == "1 of 3 fits failed: out of memory"
    assert (lost.fits, lost.failed) == (0, 1)
    assert math.isnan(lost.ours["Rank IC"].mean)
    text = to_markdown(r, "t")
    assert "| 2 of 3 |" in text
    assert "NaN \\| &lt;b&gt;" in text


def test_a_network_without_chance_is_said() -> None:
    (row,) = table_rows(results_frame([made_up.fit("line", 0, model="linear")]))
    assert row.note == "draws nothing at random: every seed gives the same"


def test_a_fit_without_a_figure_is_said() -> None:
    rows = [made_up.fit("gru", 0), made_up.fit("gru", 1, **{"Rank IC": math.nan})]
    (row,) = table_rows(results_frame(rows))
    assert row.note == "1 of 2 fits have no Rank IC"
    assert row.ours["Rank IC"].seeds == 1


def test_the_best_mean_rank_ic_comes_first_and_what_has_none_last() -> None:
    values = {"b": 0.01, "none": math.nan, "a": 0.03, "minus": -0.2}
    rows = table_rows(results_frame(made_up.fit(name, 0, **{"Rank IC": value}) for name, value in values.items()))
    assert [row.name for row in rows] == ["a", "b", "minus", "none"]


def test_rolls_of_a_seed_are_one_series() -> None:
    first, second = [0.1, 0.3], [0.2, 0.0, 0.4]
    rows = [made_up.fit("gru", 0, roll=year, **{"Rank IC": 9.0}) for year in ("2017", "2018")]
    rows += [made_up.fit("gru", 1, roll="2017"), {**made_up.failed("gru", 1, "killed"), "roll": "2018"}]
    daily = pd.concat([made_up.days("gru", 0, first), made_up.days("gru", 0, second, "2018-01-02")])
    (row,) = table_rows(results_frame(rows), daily, {"gru": config("gru_alpha360")})
    every = np.array([*first, *second])
    assert row.ours["Rank IC"].mean == pytest.approx(every.mean())
    assert row.ours["Rank ICIR"].mean == pytest.approx(every.mean() / every.std(ddof=1))
    assert row.ours["IC"].mean == pytest.approx(every.mean() / 2)
    assert (row.fits, row.failed) == (1, 1)
    assert row.means["seconds"] == 20.0
    assert not row.comparable
    assert "segments that roll" in row.note


def test_csv_has_every_number_whole() -> None:
    row = gru([0.05600000000000001, 0.058, 0.0601])
    (read,) = csv.DictReader(io.StringIO(to_csv([row])))
    assert float(read["Rank IC mean"]) == row.ours["Rank IC"].mean
    assert float(read["Rank IC std"]) == row.ours["Rank IC"].std
    assert float(read["Rank IC distance"]) == row.distance("Rank IC")
    assert float(read["published Rank IC mean"]) == 0.0584
    assert list(read) == list(table_frame([row]))


def test_without_published_figures_there_is_one_table() -> None:
    (row,) = table_rows(results_frame([made_up.fit("gru", 0)]))
    assert [table.name for table in tables([row])] == ["Results"]
