"""Permutation importance finds what was planted, whoever computes it and in whatever order."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from raybench.explanation.importance import (
    RANK_IC_DROP,
    SCORE_CHANGE,
    ExchangedPart,
    Importance,
    measure_importance,
    order_of,
)
from tests.explanation.made_up import MadeUp, Planted, section

FEATURES = ("a", "b", "c", "d")
DAYS = ("2020-01-02", "2020-01-03", "2020-01-06")
FIRST, STOP = np.datetime64(DAYS[0]), np.datetime64(DAYS[-1]) + 1


def subject(*, labels: bool = True) -> MadeUp:
    sections = [section(day, seed=seed) for seed, day in enumerate(DAYS)]
    if not labels:
        sections = [replace(each, label_N=np.full(len(each), np.nan)) for each in sections]
    return MadeUp(Planted(), FEATURES, sections)


def measured(**options: Any) -> Importance:
    return measure_importance(subject(), FIRST, STOP, **{"repeats": 3, "seed": 0, **options})


def test_the_planted_feature_and_lag_matter_most() -> None:
    found = measured()
    assert (found.measure, found.dates) == (RANK_IC_DROP, 3)
    assert found.rank_ic > 0.8
    for kind, strong, names in (("feature", "c", FEATURES), ("lag", "1", [str(lag) for lag in range(5)])):
        rows = found.table[found.table["kind"] == kind].set_index("name")
        assert list(rows.index) == list(names)
        assert rows["mean"].idxmax() == strong
        assert rows.loc[strong, "mean"] == pytest.approx(found.rank_ic, abs=0.2)
        unused = [name for name in names if name not in (strong, "a", "3")]
        assert (rows.loc[unused, ["mean", "score_change"]] == 0.0).all(axis=None)
        assert (rows.loc[[strong, "a" if kind == "feature" else "3"], "score_change"] > 0.0).all()


def test_without_labels_it_is_the_change_of_the_score() -> None:
    found = measure_importance(subject(labels=False), FIRST, STOP, repeats=2, seed=0)
    rows = found.table.set_index("name")
    assert (found.measure, found.dates) == (SCORE_CHANGE, 3)
    assert np.isnan(found.rank_ic)
    assert rows["mean"].equals(rows["score_change"])
    assert rows.loc["c", "mean"] == pytest.approx(10 * rows.loc["a", "mean"], rel=0.3)


def test_a_part_is_handed_round_whole_and_nothing_else_is() -> None:
    x_NWF = torch.randn(6, 5, 4)
    order_N = torch.tensor([1, 2, 3, 4, 5, 0])
    feature_NWF = ExchangedPart(kind="feature", index=2, name="c").exchanged(x_NWF, order_N)
    lag_NWF = ExchangedPart(kind="lag", index=0, name="0").exchanged(x_NWF, order_N)
    assert torch.equal(feature_NWF[:, :, 2], x_NWF[order_N, :, 2])
    assert torch.equal(feature_NWF[:, :, [0, 1, 3]], x_NWF[:, :, [0, 1, 3]])
    assert torch.equal(lag_NWF[:, -1], x_NWF[order_N, -1])
    assert torch.equal(lag_NWF[:, :-1], x_NWF[:, :-1])


def test_orders_differ_by_date_and_repeat_and_come_again() -> None:
    first, second = section(DAYS[0]), section(DAYS[1])
    orders = [tuple(order_of(seed, k, day)) for seed in (0, 1) for k in (0, 1) for day in (first, second)]
    assert len(set(orders)) == len(orders)
    assert tuple(order_of(0, 0, first)) == orders[0]
    assert sorted(orders[0]) == list(range(len(first)))


def test_who_computes_it_does_not_matter() -> None:
    def backwards(function: Callable[[Any], Any], items: Iterable[Any], /) -> Iterator[Any]:
        return iter([function(item) for item in reversed(list(items))][::-1])

    pd.testing.assert_frame_equal(measured().table, measured(run=backwards).table)


def test_one_repeat_has_no_spread() -> None:
    assert measured(repeats=1).table["std"].isna().all()
