"""Weights that somebody else's code wrote: taken where that is safe, else told what to do; nothing of theirs runs."""

from __future__ import annotations

import gzip
import pickle
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from raybench import models
from raybench.errors import RunError
from raybench.models.weights import load_qlib_state, read_weights

RAN: list[str] = []
FEATURES = {"type": "alpha158", "columns": ["KMID", "ROC5"]}


class Wrapped(nn.Module):
    """Somebody's module, whose opening would be noticed."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def __setstate__(self, state: dict[str, Any]) -> None:
        RAN.append("setstate")
        super().__setstate__(state)


class Model:
    """What Qlib pickles: an object that keeps its network."""

    def __init__(self, network: nn.Module) -> None:
        self.gru_model = network


Model.__module__ = "qlib.contrib.model.pytorch_gru"


def gru() -> nn.Module:
    torch.manual_seed(1)
    return models.build({"type": "gru", "hidden_size": 4}, feature_set=FEATURES, step_len=5)


def prefixed(prefix: str) -> dict[str, Tensor]:
    return {f"{prefix}{name}": value for name, value in gru().state_dict().items()}


TAKEN: dict[str, Callable[[], object]] = {
    "DataParallel": lambda: prefixed("module."),
    "compiled": lambda: prefixed("_orig_mod."),
    "both": lambda: prefixed("module._orig_mod."),
    "an attribute": lambda: prefixed("GRU_model."),
    "lightning": lambda: {"epoch": 3, "state_dict": prefixed("model."), "optimizer_states": [{"lr": 0.1}]},
    "of parameters": lambda: dict(gru().named_parameters()),
    "a checkpoint": lambda: {"model_state_dict": prefixed(""), "loss": 0.5},
}


@pytest.mark.parametrize("kind", TAKEN)
def test_what_is_safe_is_taken(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "weights.pt"
    torch.save(TAKEN[kind](), path)
    network = models.build({"type": "gru", "hidden_size": 4}, feature_set=FEATURES, step_len=5)
    load_qlib_state(network, read_weights(str(path)))
    for name, value in gru().state_dict().items():
        assert torch.equal(network.state_dict()[name], value)


def written(kind: str, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("qlib", "qlib.contrib", "qlib.contrib.model", Model.__module__):
        module = types.ModuleType(name)
        module.Model = Model  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, name, module)
    match kind:
        case "module":
            torch.save(Wrapped(gru()), path)
        case "old module":
            torch.save(Wrapped(gru()), path, _use_new_zipfile_serialization=False)
        case "torch's own":
            torch.save(nn.Sequential(nn.Linear(2, 1)), path)
        case "plain pickle":
            path.write_bytes(pickle.dumps(Wrapped(gru())))
        case "qlib":
            path.write_bytes(pickle.dumps(Model(gru())))
        case "qlib by torch":
            torch.save(Model(gru()), path)


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        ("module", r"class .*Wrapped.*torch\.save\(model\.state_dict\(\)"),
        ("old module", r"class .*Wrapped.*torch\.save\(model\.state_dict\(\)"),
        ("torch's own", r"class torch\.nn\.modules.*torch\.save\(model\.state_dict\(\)"),
        ("plain pickle", r"class .*Wrapped.*torch\.save\(model\.state_dict\(\)"),
        ("qlib", r"class qlib\.contrib\.model\.pytorch_gru\.Model.*gru_model"),
        ("qlib by torch", r"class qlib\.contrib\.model\.pytorch_gru\.Model.*gru_model"),
    ],
)
def test_an_object_is_not_opened_but_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, says: str
) -> None:
    path = tmp_path / "weights.pkl"
    written(kind, path, monkeypatch)
    RAN.clear()
    with pytest.raises(RunError, match=says):
        read_weights(str(path))
    assert RAN == []


def test_a_prefix_that_does_not_lead_to_the_network_is_named() -> None:
    other = {f"module.{name}": value for name, value in nn.LSTM(2, 4).state_dict().items()}
    with pytest.raises(RunError, match=r"prefix 'module\.'"):
        load_qlib_state(gru(), other)


@pytest.mark.parametrize(
    "data", [b"", b"PK\x03\x04 no zip", b"\x80\x04", b"\x80\x04" + b"(" * 100_000, b"[" * 1000, bytes(256)]
)
@pytest.mark.parametrize("name", ["w.pt", "w.safetensors"])
def test_what_is_no_weights_is_an_error_of_the_user(tmp_path: Path, data: bytes, name: str) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(RunError, match=r"w\..*(cannot be read as weights|is no file of weights)"):
        read_weights(str(tmp_path / name))


@pytest.mark.parametrize(
    "data", [b"instrument,datetime\n", b"\x08\x08\x12 onnx", gzip.compress(b"weights"), b"\x89HDF\r\n"]
)
def test_another_kind_of_file_is_called_that(tmp_path: Path, data: bytes) -> None:
    """Torch advises to open it all the same, running what code is in it."""
    (tmp_path / "w.pt").write_bytes(data)
    with pytest.raises(RunError, match=r"w\.pt: is no file of weights; want safetensors") as caught:
        read_weights(str(tmp_path / "w.pt"))
    assert "weights_only" not in str(caught.value)


def test_arrays_of_numpy_are_named(tmp_path: Path) -> None:
    torch.save({name: value.numpy() for name, value in gru().state_dict().items()}, tmp_path / "w.pt")
    with pytest.raises(RunError, match=r"holds arrays of numpy; want .*torch\.from_numpy"):
        read_weights(str(tmp_path / "w.pt"))


def test_safetensors_are_known_by_what_they_hold(tmp_path: Path) -> None:
    save_file(gru().state_dict(), tmp_path / "w.pt")
    assert read_weights(str(tmp_path / "w.pt")).keys() == gru().state_dict().keys()


def test_a_folder_is_no_file_of_weights(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"is a folder; want a file of weights, as model\.safetensors of a run is"):
        read_weights(str(tmp_path))


def test_whole_numbers_are_no_weights() -> None:
    """They would be cut to 0 without a word."""
    state = {**gru().state_dict(), "fc_out.weight": torch.zeros(1, 4, dtype=torch.int32)}
    with pytest.raises(RunError, match=r"fc_out\.weight is of int32, wanted float"):
        load_qlib_state(gru(), state)
