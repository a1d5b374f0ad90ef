"""A network of the user's own: found, made, tried once, and refused in one line where it does not fit."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

from raybench.config import load_config
from raybench.errors import ConfigError
from raybench.models import build, takes_dates

NETWORKS = """
import torch
from torch import nn


class Net(nn.Module):
    def __init__(self, num_features, hidden_size=3, *, depth=1):
        super().__init__()
        self.made_with = (num_features, hidden_size, depth)
        self.layer = nn.Linear(num_features, 1)
        self.dropout = nn.Dropout(0.5)
        self.norm = nn.BatchNorm1d(num_features)

    def forward(self, x):
        return self.layer(self.dropout(self.norm(x[:, -1])))[:, 0]


class Asks(Net):
    def __init__(self, num_features, recipe, *, step_len):
        super().__init__(num_features)
        self.made_with = (num_features, recipe, step_len)


class Needs(Net):
    def __init__(self, num_features, width):
        super().__init__(num_features)


class Dates(Net):
    batches = "dates"

    def forward(self, x, sizes=None):
        return super().forward(x) - sum(sizes or (0,))


class Second(Net):
    def __init__(self, num_features, second_features):
        super().__init__(num_features)
        self.extra_inputs = {"second": (None, second_features)}
        self.other = nn.Linear(second_features, 1)

    def forward(self, x, second):
        return super().forward(x) + self.other(second[:, -1])[:, 0]


class Column(Net):
    def forward(self, x):
        return self.layer(x[:, -1])


class Pair(Net):
    def forward(self, x):
        return super().forward(x), x


class Whole(Net):
    def forward(self, x):
        return x[:, 0, 0].long()


class Fails(Net):
    def forward(self, x):
        return self.layer(x.transpose(1, 2))


class FailsWhenMade(Net):
    def __init__(self, num_features):
        raise ValueError("three is not\\nenough")


class Empty(nn.Module):
    def __init__(self, num_features):
        super().__init__()

    def forward(self, x):
        return x[:, -1, 0]


class Nothing(nn.Module):
    def __init__(self):
        super().__init__()


def function(num_features):
    return Net(num_features)


class Other:
    pass
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A working directory with modules in it, forgotten afterwards."""
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "__init__.py").write_text("")
    (tmp_path / "own" / "networks.py").write_text(NETWORKS)
    (tmp_path / "broken.py").write_text("import torch\n\n1 / 0\n")
    (tmp_path / "unparsed.py").write_text("class Net(:\n")
    (tmp_path / "wanting.py").write_text("import there_is_no_such_module\n")
    (tmp_path / "leaving.py").write_text("raise SystemExit(1)\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry])
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        if name.partition(".")[0] in {"own", "broken", "unparsed", "wanting", "leaving"}:
            del sys.modules[name]


def made(model: Mapping[str, Any]) -> torch.nn.Module:
    return build(model, feature_set={"type": "alpha360"}, step_len=4)


@pytest.mark.parametrize(
    ("model", "made_with"),
    [
        ({"type": "own.networks:Net"}, (6, 3, 1)),
        ({"type": "own.networks:Net", "hidden_size": [5, 7], "depth": "two"}, (6, (5, 7), "two")),
        ({"type": "own.networks:Asks"}, (6, "raybench", 4)),
        ({"type": "own.networks:Dates"}, (6, 3, 1)),
    ],
)
def test_it_is_made_with_what_it_asks_for(model: Mapping[str, Any], made_with: tuple[Any, ...]) -> None:
    network: Any = made(model)
    found = tuple(tuple(value) if isinstance(value, list) else value for value in network.made_with)
    assert found == made_with


def test_a_second_window_is_only_for_those_that_ask() -> None:
    asked: dict[str, Any] = {"feature_set": {"type": "alpha360"}, "step_len": 4, "second_features": 2}
    network: Any = build({"type": "own.networks:Second"}, **asked)
    assert network(torch.zeros(3, 4, 6), second=torch.zeros(3, 9, 2)).shape == (3,)
    with pytest.raises(ConfigError, match=r"data\.second: own\.networks:Net has no argument second_features"):
        build({"type": "own.networks:Net"}, **asked)


def test_a_configuration_may_give_it_a_second_window() -> None:
    days = {"train": ["2010-01-01", "2012-12-31"], "valid": ["2013-01-01", "2013-12-31"]}
    segments = {**days, "test": ["2014-01-01", "2014-12-31"]}
    data = {"bars": "daily", "second": {"bars": "hourly"}, "segments": segments}
    config = load_config({"data": data, "model": {"type": "own.networks:Second"}})
    assert config.data.second_features == 158


def test_it_may_ask_for_whole_dates() -> None:
    assert takes_dates(made({"type": "own.networks:Dates"}))
    assert not takes_dates(made({"type": "own.networks:Net"}))


def test_trying_it_leaves_no_trace() -> None:
    torch.manual_seed(0)
    network: Any = made({"type": "own.networks:Net"})
    after = torch.rand(3)
    torch.manual_seed(0)
    same: Any = type(network)(6)
    assert torch.equal(after, torch.rand(3))
    assert all(torch.equal(value, same.state_dict()[name]) for name, value in network.state_dict().items())
    assert network.training
    assert network.dropout.training


@pytest.mark.parametrize(
    ("model", "says"),
    [
        ("nowhere:Net", "model.type: there is no module nowhere on the Python path or in {folder}"),
        ("own.elsewhere:Net", "model.type: there is no module own.elsewhere on"),
        ("own.networks:Nett", "model.type: own.networks has no Nett; did you mean 'Net'?"),
        ("own.networks:function", "model.type: own.networks:function is of type function; want a class derived"),
        ("own.networks:Other", "model.type: own.networks:Other is the class Other; want a class derived"),
        ("broken:Net", "model.type: importing broken failed: ZeroDivisionError: division by zero (broken.py, line 3)"),
        ("unparsed:Net", "model.type: importing unparsed failed: SyntaxError: "),
        ("wanting:Net", "model.type: importing wanting failed: ModuleNotFoundError: No module named 'there_is_no_such"),
        ("leaving:Net", "model.type: importing leaving failed: SystemExit: 1 (leaving.py, line 1)"),
        ({"type": "own.networks:Net", "hiden_size": 3}, "model.hiden_size: own.networks:Net has no such argument; did"),
        ({"type": "own.networks:Net", "step_len": 3}, "model.step_len: own.networks:Net is given this"),
        ({"type": "own.networks:Net", "num_features": 3}, "model.num_features: own.networks:Net is given this"),
        ("own.networks:Needs", "model.width: own.networks:Needs wants this; add the key"),
        ("own.networks:Nothing", "model.type: own.networks:Nothing takes no argument; want the number of features"),
        ("own.networks:FailsWhenMade", "cannot be made: ValueError: three is not (networks.py, line "),
        ("own.networks:Fails", "model.type: own.networks:Fails fails on windows [2, 4, 6]: RuntimeError: "),
        ("own.networks:Column", "gives float32 [2, 1]; want a float tensor [2], one score per window"),
        ("own.networks:Pair", "gives tuple; want a float tensor [2]"),
        ("own.networks:Whole", "gives int64 [2]; want a float tensor [2]"),
        ("own.networks:Empty", "model.type: own.networks:Empty has no parameters to train"),
    ],
)
def test_what_does_not_fit_is_one_line(folder: Path, model: str | dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        made({"type": model} if isinstance(model, str) else model)
    assert says.format(folder=folder) in str(caught.value)
    assert str(caught.value).startswith("model.")
    assert "\n" not in str(caught.value)


def test_the_python_path_comes_before_the_working_directory(
    folder: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    (elsewhere / "leaving.py").write_text(NETWORKS)
    monkeypatch.syspath_prepend(elsewhere)
    assert type(made({"type": "leaving:Net"})).__module__ == "leaving"
