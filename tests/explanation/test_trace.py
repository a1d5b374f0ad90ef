"""What hooks see in each kind of network, and that they leave it as it was."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from raybench.explanation.trace import FROM_STEP, INSTRUMENT, OTHER, PLACE, STEP, Trace, trace
from raybench.models import MODELS, build, takes_dates
from raybench.models.interface.inputs import Inputs

N, W, F = 9, 6, 4
SMALL = {
    "gru": {"hidden_size": 5, "num_layers": 2},
    "lstm": {"hidden_size": 5, "num_layers": 2},
    "alstm": {"hidden_size": 6, "num_layers": 1},
    "transformer": {"d_model": 8, "nhead": 2, "num_layers": 2},
    "localformer": {"d_model": 8, "nhead": 2, "num_layers": 1},
    "krnn": {"cnn_dim": 4, "rnn_dim": 5, "rnn_dups": 2, "rnn_layers": 1},
    "tcn": {"n_chans": W, "kernel_size": 2, "num_layers": 3},  # as many channels as steps
    "gats": {"hidden_size": 6, "num_layers": 1},
}


def network(kind: str, **keys: Any) -> nn.Module:
    if kind not in MODELS:
        pytest.skip(f"there is no network {kind}")
    torch.manual_seed(0)
    feature_set = {"type": "table", "columns": [f"f{i}" for i in range(F)]}
    return build({"type": kind, **SMALL[kind], **keys}, feature_set=feature_set, step_len=W).eval()


def seen_in(net: nn.Module, samples: int = N) -> Trace:
    torch.manual_seed(1)
    return trace(net, Inputs(x_BWF=torch.randn(samples, W, F)), across=takes_dates(net))


def hooks_of(net: nn.Module) -> Iterable[object]:
    return [hook for module in net.modules() for hook in (*module._forward_hooks, *module._forward_pre_hooks)]


@pytest.mark.parametrize("kind", list(SMALL))
def test_hidden_states_have_every_step_and_hooks_are_gone(kind: str) -> None:
    net = network(kind)
    before = {name: value.clone() for name, value in net.state_dict().items()}
    seen = seen_in(net)
    assert seen.hidden
    assert all(h_NWH.shape[:2] == (N, W) for h_NWH in seen.hidden.values())
    assert not hooks_of(net)
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())


@pytest.mark.parametrize("kind", ["gru", "lstm"])
def test_every_layer_of_a_stack_is_seen(kind: str) -> None:
    net = network(kind)
    seen = seen_in(net)
    assert list(seen.hidden) == list(seen.gates) == ["rnn.l0", "rnn.l1"]
    assert seen.attention == {}
    torch.manual_seed(1)
    own_NWH = net.rnn(torch.randn(N, W, F))[0]  # type: ignore[operator,union-attr]
    torch.testing.assert_close(seen.hidden["rnn.l1"], own_NWH.detach(), atol=1e-6, rtol=0.0)


@pytest.mark.parametrize("kind", ["gru", "lstm"])
def test_gates_of_layers_with_layer_norm_are_seen(kind: str) -> None:
    net = network(kind, layer_norm=True, zoneout=0.1, recurrent_dropconnect=0.1)
    seen = seen_in(net)
    assert list(seen.gates) == ["rnn.l0", "rnn.l1"]
    torch.manual_seed(1)
    own_NWH = net.rnn(torch.randn(N, W, F))[0]  # type: ignore[operator,union-attr]
    assert torch.equal(seen.hidden["rnn.l1"], own_NWH.detach())


def test_layers_that_take_time_first_are_turned() -> None:
    seen = seen_in(network("localformer"))
    assert set(seen.gates) == {"rnn.l0"}
    assert any(name.startswith("transformer_encoder") for name in seen.hidden)


def test_convolutions_have_channels_first() -> None:
    net = network("tcn")
    ((name, h_NWH),) = seen_in(net).hidden.items()
    torch.manual_seed(1)
    first_NHW = net.tcn.network[0](torch.randn(N, W, F).transpose(1, 2))  # type: ignore[index,operator,union-attr]
    assert name == "tcn.network.0"
    torch.testing.assert_close(h_NWH, first_NHW.transpose(1, 2).detach())


def test_attention_over_time_adds_up_to_one() -> None:
    (attention,) = seen_in(network("alstm")).attention.values()
    assert attention.axes == (INSTRUMENT, STEP)
    torch.testing.assert_close(attention.weight.sum(dim=1), torch.ones(N))


def test_attention_between_steps_names_who_attends() -> None:
    first, last = seen_in(network("transformer")).attention.values()
    assert first.axes == (INSTRUMENT, PLACE, FROM_STEP, STEP)
    assert last.axes == (INSTRUMENT, PLACE, STEP)  # the last step alone
    torch.testing.assert_close(first.mean_over((FROM_STEP, STEP)).sum(dim=1), torch.ones(W))


@pytest.mark.parametrize("samples", [1, W, N])
def test_attention_among_instruments(samples: int) -> None:
    attention = seen_in(network("gats"), samples).attention
    if samples == 1:  # nobody else
        assert all(OTHER not in each.axes for each in attention.values())
        return
    (each,) = attention.values()
    assert each.axes == (INSTRUMENT, OTHER)
    torch.testing.assert_close(each.weight.sum(dim=1), torch.ones(samples))


def test_as_many_instruments_as_steps_are_told_apart() -> None:
    (attention,) = seen_in(network("alstm"), samples=W).attention.values()
    assert attention.axes == (INSTRUMENT, STEP)
    torch.testing.assert_close(attention.weight.sum(dim=1), torch.ones(W))


class Own(nn.Module):
    """A user's network that says itself what is worth seeing, and calls a layer twice."""

    def __init__(self) -> None:
        super().__init__()
        self.mix, self.weigh = nn.Linear(F, F), nn.Identity()
        self.mix.explains, self.weigh.explains = "hidden", "attention"  # type: ignore[assignment]

    def forward(self, x: Tensor) -> Tensor:
        y_NWF = self.mix(self.mix(x))
        return (self.weigh(y_NWF.mean(dim=2).softmax(dim=1)) * y_NWF.sum(dim=2)).sum(dim=1)


def test_a_module_may_say_what_it_explains() -> None:
    seen = seen_in(Own())
    assert list(seen.hidden) == ["mix", "mix#2"]
    assert seen.attention["weigh"].axes == (INSTRUMENT, STEP)


def test_a_network_without_steps_has_nothing_to_show() -> None:
    seen = seen_in(nn.Sequential(nn.Flatten(), nn.Linear(W * F, 1), nn.Flatten(0)))
    assert (seen.hidden, seen.gates, seen.attention) == ({}, {}, {})
