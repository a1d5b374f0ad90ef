"""Weights trained elsewhere: read without running code, and refused when they do not fit."""

from __future__ import annotations

import pickle
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from raybench.errors import RunError
from raybench.models import build, load_qlib_state, read_weights

ALPHA360 = {"type": "alpha360"}


def weights(hidden_size: int = 4) -> dict[str, Tensor]:
    torch.manual_seed(7)
    return build({"type": "gru", "hidden_size": hidden_size}, feature_set=ALPHA360, step_len=60).state_dict()


class Attack:
    """A pickle that makes a file when it is opened carelessly."""

    def __init__(self, made: Path) -> None:
        self.made = made

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (Path.touch, (self.made,))  # type: ignore[return-value]


@pytest.mark.parametrize("name", ["zip.pkl", "legacy.pkl", "w.pt", "w.safetensors"])
def test_reads_what_was_written(tmp_path: Path, name: str) -> None:
    path, written = tmp_path / name, weights()
    if name.endswith(".safetensors"):
        save_file(written, path)
    else:
        torch.save(OrderedDict(written), path, _use_new_zipfile_serialization=name != "legacy.pkl")
    network = build({"type": "gru", "hidden_size": 4}, feature_set=ALPHA360, step_len=60)
    load_qlib_state(network, read_weights(str(path)))
    for key, value in network.state_dict().items():
        assert torch.equal(value, written[key])


@pytest.mark.parametrize("through_torch", [True, False])
def test_a_pickle_that_runs_code_is_not_opened(tmp_path: Path, through_torch: bool) -> None:
    path, made = tmp_path / "attack.pkl", tmp_path / "made"
    if through_torch:
        torch.save({"rnn": Attack(made)}, path)
    else:
        path.write_bytes(pickle.dumps(Attack(made)))
    with pytest.raises(RunError) as caught:
        read_weights(str(path))
    assert "\n" not in str(caught.value)
    assert not made.exists()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("garbage.pkl", b"not a pickle"),
        ("empty.pt", b""),
        ("cut.safetensors", b"\x10\0\0\0\0\0\0\0{"),
        ("zip.pt", b"PK\3\4"),
    ],
)
def test_a_broken_file_is_one_line(tmp_path: Path, name: str, content: bytes) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(RunError, match=name) as caught:
        read_weights(str(path))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("stored", [[1, 2], {"epoch": 3}, {"a": {"b": {"w": torch.zeros(1)}}}, {"state_dict": 5}])
def test_only_a_state_dict_will_do(tmp_path: Path, stored: object) -> None:
    torch.save(stored, tmp_path / "w.pt")
    with pytest.raises(RunError, match="state dict"):
        read_weights(str(tmp_path / "w.pt"))


def without(state: Mapping[str, Tensor], name: str) -> dict[str, Tensor]:
    return {key: value for key, value in state.items() if key != name}


@pytest.mark.parametrize(
    ("state", "said"),
    [
        (without(weights(), "fc_out.bias"), "fc_out.bias missing"),
        ({**weights(), "gate.weight": torch.zeros(1)}, "gate.weight unexpected"),
        (weights(hidden_size=5), r"\[15, 6\], wanted \[12, 6\]"),
    ],
)
def test_weights_that_do_not_fit_are_refused_whole(state: dict[str, Tensor], said: str) -> None:
    network = build({"type": "gru", "hidden_size": 4}, feature_set=ALPHA360, step_len=60)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    with pytest.raises(RunError, match=said):
        load_qlib_state(network, state)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_layers_that_qlib_stores_but_never_uses_are_passed_over() -> None:
    class WithoutPrototype(torch.nn.Linear):
        qlib_dead_layers = ("encoder_layer.",)

    network = WithoutPrototype(2, 1)
    state = {"weight": torch.ones(1, 2), "bias": torch.ones(1)}
    load_qlib_state(network, {**state, "encoder_layer.linear1.weight": torch.zeros(9)})
    assert torch.equal(network.weight, state["weight"])
