"""The table of rolls: one row for each configuration in each roll, by hand."""

from __future__ import annotations

from raybench.comparison.results import results_frame
from raybench.comparison.roll_table import roll_tables
from tests.comparison import made_up


def test_a_row_for_each_roll_with_the_deviation_over_its_seeds() -> None:
    rows = [
        made_up.fit("gru", 0, roll="2017-01-01", **{"Rank IC": 0.02, "IC": 0.01}),
        made_up.fit("gru", 1, roll="2017-01-01", **{"Rank IC": 0.04, "IC": 0.03}),
        made_up.fit("gru", 0, roll="2018-01-01", **{"Rank IC": -0.05}),
        made_up.fit("lstm", 0, roll="2017-01-01", **{"Rank IC": 0.07}),
        {**made_up.failed("lstm", 1, "killed"), "roll": "2017-01-01"},
    ]
    (table,) = roll_tables(results_frame(rows), ["lstm", "gru"])
    assert table.columns[:5] == ["configuration", "roll", "fits", "Rank IC", "Rank ICIR"]
    assert [row[:4] for row in table.rows] == [
        ["lstm", "2017-01-01", "1", "0.0700"],
        ["gru", "2017-01-01", "2", "0.0300 ± 0.0141"],
        ["gru", "2018-01-01", "1", "\N{MINUS SIGN}0.0500"],
    ]
    assert table.rows[1][5] == "0.0200 ± 0.0141"


def test_where_nothing_rolls_there_is_none() -> None:
    assert roll_tables(results_frame([made_up.fit("gru", 0)]), ["gru"]) == []
    assert roll_tables(results_frame([{**made_up.failed("gru", 0, "killed"), "roll": "2017-01-01"}]), ["gru"]) == []
