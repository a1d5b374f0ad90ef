"""Combining the scores of several runs."""

from __future__ import annotations

import numpy as np
import pytest

from raybench.score.ensemble import combine, ensemble_id
from raybench.score.predictor import MomentScores


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
