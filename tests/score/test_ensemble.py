"""Combining the scores of several runs."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from raybench.score.ensemble import combine, ensemble_id


def test_one_run_stays_as_it_is() -> None:
    scores = pd.Series([3.0, 1.0], index=["B", "A"])
    assert combine([scores]) is scores
    assert ensemble_id(["abc"]) == "abc"


def test_scale_and_shift_of_a_run_do_not_matter() -> None:
    first = pd.Series([0.1, 0.5, 0.9], index=list("ABC"))
    second = pd.Series([2.0, 1.0, 4.0], index=list("ABC"))
    plain, scaled = combine([first, second]), combine([first, 100 * second - 7])
    np.testing.assert_allclose(plain, scaled, rtol=1e-5)
    assert plain.idxmax() == "C"
    assert plain.mean() == pytest.approx(0.0, abs=1e-6)


def test_an_instrument_needs_every_run_and_a_constant_run_has_no_say() -> None:
    first = pd.Series([0.1, 0.5, 0.9], index=list("ABC"))
    constant = pd.Series([2.0, 2.0], index=list("CB"))
    combined = combine([first, constant])
    assert list(combined.index) == ["B", "C"]
    assert combined["C"] > combined["B"]


def test_the_id_of_an_ensemble_depends_on_its_runs() -> None:
    assert ensemble_id(["a", "b"]) != ensemble_id(["a", "c"])
    assert len(ensemble_id(["a", "b"])) == 16
