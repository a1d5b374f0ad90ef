"""A network built on a GRU or LSTM that starts from a trained one."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from raybench.errors import RunError
from raybench.models import build
from raybench.models.weights import load_base
from raybench.processors import FittedProcessors

COLUMNS = ("A", "B", "C")
FEATURES = {"type": "table", "columns": list(COLUMNS)}


def network(kind: str, seed: int, **keys: Any) -> nn.Module:
    torch.manual_seed(seed)
    return build({"type": kind, "hidden_size": 4, **keys}, feature_set=FEATURES, step_len=5)


def write_run(folder: Path, state: Mapping[str, Tensor]) -> str:
    """As much of a run as is read."""
    folder.mkdir()
    save_file(dict(state), folder / "model.safetensors")
    fitted = FittedProcessors(table_columns=COLUMNS, infer=(), learn=())
    (folder / "processors.json").write_text(fitted.to_json())
    (folder / "manifest.json").write_text("{}")
    return str(folder)


@pytest.mark.parametrize("base", ["gru", "lstm"])
@pytest.mark.parametrize("kind", ["gats", "hist"])
@pytest.mark.parametrize("stored", ["run", "base.pkl", "base.safetensors"])
def test_base_and_head_are_copied_and_nothing_else(tmp_path: Path, stored: str, kind: str, base: str) -> None:
    state = network(base, 1).state_dict()
    path = tmp_path / stored
    if stored == "run":
        write_run(path, state)
    elif stored == "base.pkl":
        torch.save(state, path)
    else:
        save_file(state, path)
    ours = network(kind, 2, base_model=base.upper())
    before = {name: value.clone() for name, value in ours.state_dict().items()}
    load_base(ours, str(path), columns=COLUMNS)
    for name, value in ours.state_dict().items():
        assert torch.equal(value, state[name] if name in state else before[name]), name
    assert set(state) == {name for name in before if name.startswith(("rnn.", "fc_out."))}


@pytest.mark.parametrize(
    ("base", "says"),
    [
        (network("lstm", 1), r"rnn\.weight_ih_l0 is \[16, 3\], wanted \[12, 3\]"),
        (network("gru", 1, hidden_size=5), r"wanted \[1, 4\]|wanted \[12, 3\]"),
        (network("gru", 1, num_layers=3), r"rnn\..*_l2.* unexpected"),
        (network("gru", 1, num_layers=1), r"rnn\..*_l1.* missing"),
        (nn.Linear(3, 1), "missing"),
    ],
)
def test_what_does_not_fit_is_refused_whole(tmp_path: Path, base: nn.Module, says: str) -> None:
    torch.save(base.state_dict(), tmp_path / "base.pt")
    ours = network("gats", 2)
    before = {name: value.clone() for name, value in ours.state_dict().items()}
    with pytest.raises(RunError, match=says) as caught:
        load_base(ours, str(tmp_path / "base.pt"))
    assert str(caught.value).startswith("model.pretrained: ")
    assert "\n" not in str(caught.value)
    assert all(torch.equal(value, before[name]) for name, value in ours.state_dict().items())


def test_a_run_of_other_features_is_refused(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", network("gru", 1).state_dict())
    for columns, says in ((("A", "B", "D"), r"different: C, D"), (("B", "A", "C"), "their order")):
        with pytest.raises(RunError, match=says):
            load_base(network("gats", 2), run, columns=columns)


@pytest.mark.parametrize("given", ["nowhere.pkl", "empty"])
def test_a_place_without_weights_is_named(tmp_path: Path, given: str) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(RunError, match=rf"model\.pretrained: .*{given}"):
        load_base(network("gats", 2), str(tmp_path / given))
