"""What whole dates exclude is refused with the key to change."""

from __future__ import annotations

from typing import Any

import pytest

from raybench.config import load_config
from raybench.config.recipe import quirks
from raybench.errors import ConfigError


def tree(kind: str, **changes: Any) -> dict[str, Any]:
    segments = {
        "train": ["2014-01-01", "2014-12-31"],
        "valid": ["2015-01-05", "2015-06-30"],
        "test": ["2015-07-05", "2015-12-31"],
    }
    return {"data": {"bars": "x", "segments": segments}, "model": {"type": kind}, **changes}


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["data.residency=streaming"], "data.residency: streaming has blocks of instruments, but gats"),
        (["cluster.num_workers=2"], "train.dates_per_batch: 1 date cannot be shared by cluster.num_workers = 2"),
    ],
)
def test_networks_that_take_whole_dates(overrides: list[str], said: str) -> None:
    load_config(tree("gats"))
    with pytest.raises(ConfigError) as caught:
        load_config(tree("gats"), overrides)
    assert said in str(caught.value)


def test_dates_per_batch_is_for_whole_dates_only() -> None:
    with pytest.raises(ConfigError, match=r"train\.dates_per_batch: is for networks that take whole dates"):
        load_config(tree("gru"), ["train.dates_per_batch=2"])
    load_config(tree("gats"), ["train.dates_per_batch=2", "cluster.num_workers=2"])


def test_quirks_of_dates() -> None:
    cut = quirks(load_config(tree("gats", recipe="qlib")))
    assert any("cut out of samples in the order of their instruments" in line for line in cut)
    assert not any("last batch is dropped" in line for line in cut)
    assert any("last batch is dropped" in line for line in quirks(load_config(tree("gru", recipe="qlib"))))
