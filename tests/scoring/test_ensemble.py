"""Combining the scores of several runs."""

from __future__ import annotations

import numpy as np
import pytest

from raybench.errors import DataError
from raybench.scoring.ensemble import combine, ensemble_id, parse_way, ranked
from raybench.scoring.predictor import MomentScores


def scores(names: str, *values: float) -> MomentScores:
    return MomentScores(
        moment=np.datetime64("2020-01-02", "us"),
        instrument_N=np.array(list(names)),
        score_N=np.array(values, dtype=np.float32),
    )


def test_one_run_stays_as_it_is() -> None:
    one = scores("AB", 1.0, 3.0)
    assert combine([one]) is one
    assert ensemble_id(["abc"]) == "abc"


def test_scale_and_shift_of_a_run_do_not_matter() -> None:
    first = scores("ABC", 0.1, 0.5, 0.9)
    plain, scaled = (combine([first, scores("ABC", *v)]) for v in ((2.0, 1.0, 4.0), (193.0, 93.0, 393.0)))
    np.testing.assert_allclose(plain.score_N, scaled.score_N, rtol=1e-5)
    expected = (np.array([-1, 0, 1]) / np.sqrt(2 / 3) + (np.array([2, 1, 4]) - 7 / 3) / np.std([2, 1, 4])) / 2
    np.testing.assert_allclose(plain.score_N, expected, rtol=1e-6)
    assert plain.score_N.dtype == np.float32


def test_an_instrument_needs_every_run_and_a_constant_run_has_no_say() -> None:
    combined = combine([scores("ABC", 0.1, 0.5, 0.9), scores("BCD", 2.0, 2.0, 2.0)])
    assert list(combined.instrument_N) == ["B", "C"]
    np.testing.assert_allclose(combined.score_N, [0.0, 0.5 / np.sqrt(2 / 3)], atol=1e-7)


def test_runs_without_a_common_instrument_give_nothing() -> None:
    assert len(combine([scores("AB", 1.0, 2.0), scores("CD", 1.0, 2.0)]).score_N) == 0


@pytest.mark.parametrize("other", [["a", "c"], ["b", "a"], ["a"]])
def test_the_id_of_an_ensemble_depends_on_its_runs(other: list[str]) -> None:
    assert ensemble_id(["a", "b"]) != ensemble_id(other)
    assert len(ensemble_id(["a", "b"])) == 16


def test_ranks_are_shares_of_the_cross_section_and_ties_are_averaged() -> None:
    combined = combine([scores("ABCD", 0.1, 0.5, 0.5, 9000.0), scores("ABCD", 4.0, 3.0, 2.0, 1.0)], "ranks")
    np.testing.assert_allclose(combined.score_N, [(1 + 4) / 8, (2.5 + 3) / 8, (2.5 + 2) / 8, (4 + 1) / 8])
    assert combined.score_N.dtype == np.float32


def test_ranks_are_among_those_that_every_run_scores() -> None:
    combined = combine([scores("ABC", 9.0, 0.5, 0.9), scores("BCD", 1.0, 2.0, 0.0)], "ranks")
    assert list(combined.instrument_N) == ["B", "C"]
    np.testing.assert_allclose(combined.score_N, [0.5, 1.0])


@pytest.mark.parametrize("seed", range(5))
def test_ranks_are_those_of_pandas(seed: int) -> None:
    pandas = pytest.importorskip("pandas")
    values = np.random.default_rng(seed).integers(0, 8, 30).astype(np.float32)
    np.testing.assert_allclose(ranked(values), pandas.Series(values).rank(pct=True), rtol=1e-12)


def test_a_score_that_is_no_number_stays_one() -> None:
    combined = combine([scores("AB", np.nan, 1.0), scores("AB", 1.0, 2.0)], "ranks")
    assert np.isnan(combined.score_N[0])


def test_the_way_of_combining_is_part_of_the_id_of_several_runs_only() -> None:
    assert ensemble_id(["a", "b"], "ranks") != ensemble_id(["a", "b"], "scores") == ensemble_id(["a", "b"])
    assert ensemble_id(["a"], "ranks") == "a"
    assert combine([scores("AB", 1.0, 3.0)], "ranks").score_N.tolist() == [1.0, 3.0]


def test_a_way_that_there_is_not_is_refused() -> None:
    with pytest.raises(DataError, match=r"--combine is 'median'; want scores or ranks"):
        parse_way("median")
