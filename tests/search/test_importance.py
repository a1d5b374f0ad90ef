"""What each key did: fANOVA's ranking, and the figures of a search, from trials in which one key of two matters."""

from __future__ import annotations

import math
import random
from collections.abc import Callable

import pandas as pd
import pytest
from matplotlib.figure import Figure

from raybench.config.search_space import Space
from raybench.config.tune import LogUniform, Uniform
from raybench.reports.html import svg
from raybench.search import figures
from raybench.search.importance import FEWEST, importances
from raybench.search.ledger import DONE, FAILED, STOPPED, Ledger, TrialRecord

SPACE: Space = {"model.dropout": Uniform(uniform=(0.0, 0.5)), "train.lr": LogUniform(loguniform=(1e-5, 1e-1))}


def records(count: int) -> list[TrialRecord]:
    """Trials whose metric follows the rate, and hardly the dropout."""
    draw = random.Random(0)
    found = []
    for number in range(count):
        rate, dropout = 10 ** draw.uniform(-5, -1), draw.uniform(0.0, 0.5)
        metric = 0.05 - 0.01 * (math.log10(rate) + 3) ** 2 + 0.0005 * dropout
        values = {"model.dropout": dropout, "train.lr": rate}
        status = STOPPED if number % 3 else DONE
        found.append(TrialRecord(number=number, values=values, status=status, epochs=3, best_epoch=2, metric=metric))
    return found


def test_the_key_that_matters_comes_first_with_nearly_all_of_the_variance() -> None:
    shares = importances(records(40), SPACE)
    assert list(shares.index) == ["train.lr", "model.dropout"]
    assert shares["train.lr"] > 0.8
    assert shares.sum() == pytest.approx(1.0)


def test_nothing_is_told_from_too_few_or_from_keys_of_one_value() -> None:
    assert importances(records(FEWEST - 1), SPACE).empty
    same = [TrialRecord(number=n, values={"train.lr": 1e-3}, metric=n / 10) for n in range(9)]
    assert importances(same, SPACE).empty
    failed = [TrialRecord(number=n, values={"train.lr": n + 1.0}, status=FAILED) for n in range(9)]
    assert importances(failed, SPACE).empty


@pytest.mark.parametrize("count", [12, 1, 0])
def test_every_figure_is_drawn_from_many_trials_from_one_and_from_none(count: int) -> None:
    known = records(count)
    ledger = Ledger(out="", keys=list(SPACE), mode="max", records={each.number: each for each in known})
    trials = ledger.frame()
    rows = [(f"{each.number:04d}", epoch, each.metric * epoch / 3) for each in known for epoch in (1, 2, 3)]
    curves = pd.DataFrame(rows, columns=["trial_id", "epoch", "value"]).astype({"value": float})
    drawn: list[Callable[[], Figure]] = [
        lambda: figures.learning_curves(trials, curves, "0000", "Rank IC"),
        lambda: figures.progress_of_search(trials, "Rank IC", largest=True),
        lambda: figures.stops(trials),
        lambda: figures.slices(trials, list(SPACE), "Rank IC", ["train.lr"]),
        lambda: figures.parallel_coordinates(trials, list(SPACE), "Rank IC", largest=True, logarithmic=["train.lr"]),
        lambda: figures.importance(importances(known, SPACE)),
    ]
    for draw in drawn:
        assert "<svg" in svg(draw())
