"""Which fits a bench is made of, and in which order they are begun."""

from __future__ import annotations

import pytest

from raybench.comparison.fits import names_of, plan_fits, seedless
from raybench.comparison.order import Durations
from raybench.errors import ConfigError


def test_names_are_stems_made_unique() -> None:
    places = ["configs/gru.yaml", "other/gru.yaml", "s3://b/gru.v2.yml", "my gru*.yaml", "plain", ".yaml"]
    assert names_of(places) == ["gru", "gru-2", "gru.v2", "my-gru", "plain", "yaml"]
    assert names_of(["gru.yaml", "gru-2.yaml", "x/gru.yaml"]) == ["gru", "gru-2", "gru-3"]


def test_every_configuration_with_every_seed(make_config) -> None:
    fits = plan_fits({"a": make_config(), "b": make_config(train__lr=1e-3, train__seed=5)}, 2)
    assert [(fit.name, fit.seed, fit.folder) for fit in fits] == [
        ("a", 0, "runs/a/seed-0"),
        ("a", 1, "runs/a/seed-1"),
        ("b", 5, "runs/b/seed-5"),
        ("b", 6, "runs/b/seed-6"),
    ]
    assert fits[3].config.train.seed == 6
    assert [fit.seed for fit in plan_fits({"a": make_config()}, "3,1")] == [3, 1]


def test_a_network_without_chance_is_fitted_once(make_config) -> None:
    fits = plan_fits({"line": make_config(model={"type": "linear"}, data__step_len=1), "gru": make_config()}, 3)
    assert [(fit.name, fit.seed) for fit in fits] == [("line", 0), ("gru", 0), ("gru", 1), ("gru", 2)]
    assert seedless(fits) == ["line"]


def test_every_roll_with_every_seed(make_config) -> None:
    fits = plan_fits({"a": make_config()}, 2, rolling="2m")
    assert [fit.folder for fit in fits] == [
        "runs/a/2015-08-03/seed-0",
        "runs/a/2015-08-03/seed-1",
        "runs/a/2015-10-03/seed-0",
        "runs/a/2015-10-03/seed-1",
    ]
    assert str(fits[3].config.data.segments.train[0]) == "2014-03-01"
    assert str(fits[3].config.data.segments.test[1]) == "2015-11-30"


def test_what_cannot_be_asked_for(make_config) -> None:
    with pytest.raises(ConfigError, match="no configuration is given"):
        plan_fits({}, 1)
    with pytest.raises(ConfigError, match="--seeds is 0"):
        plan_fits({"a": make_config()}, 0)
    with pytest.raises(ConfigError, match="--expanding is given without --rolling"):
        plan_fits({"a": make_config()}, 1, expanding=True)
    with pytest.raises(ConfigError, match=r"the configurations a and b are equal but for train\.seed"):
        plan_fits({"a": make_config(), "b": make_config(train__seed=3, cluster__num_workers=1)}, 1)


def test_the_longest_is_begun_first() -> None:
    known = Durations()
    known.expect("small", samples=100, parameters=10, epochs=10)
    known.expect("large", samples=100, parameters=1000, epochs=10)
    known.expect("few epochs", samples=100, parameters=1000, epochs=1)
    waiting = [("small", 1), ("few epochs", 2), ("large", 3), ("large", 4)]
    assert known.longest(waiting) == 3
    assert known.longest([]) is None
    known.took("large", 4.0)  # it stopped early: the others are guessed at its rate, 4 s for 1,000,000 units
    assert known.estimate("few epochs") == pytest.approx(0.4)
    known.took("few epochs", 9.0)
    assert known.longest(waiting) == 2
    known.took("small", float("nan"))
    assert known.estimate("small") > 0
