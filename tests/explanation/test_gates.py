"""Gates are those by which layers move, torch's own and those with options that torch's lack."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.functional import layer_norm, linear

from raybench.explanation.gates import gates_of, has_gates
from raybench.models.layers.cells import SIGNED, Mode
from raybench.models.layers.recurrence import make_rnn

N, W, F, H = 6, 7, 3, 5
OPTIONS: dict[str, dict[str, Any]] = {
    "zoneout": {"zoneout": 0.2},
    "layer_norm": {"layer_norm": True},
    "dropconnect": {"recurrent_dropconnect": 0.4},
    "all": {"layer_norm": True, "zoneout": 0.2, "recurrent_dropconnect": 0.4, "variational_dropout": 0.3},
}
each_mode = pytest.mark.parametrize("mode", ["GRU", "LSTM"])


def with_options(mode: Mode, **options: Any) -> nn.RNNBase:
    """Layers whose gains and biases of layer norm are not 1 and 0, as after training."""
    torch.manual_seed(0)
    rnn = make_rnn(mode, F, H, 2, **options).eval()
    for name, value in rnn.named_parameters():
        if name.startswith("norm_"):
            nn.init.uniform_(value, 0.5, 1.5)
    return rnn


def layer(kind: type[nn.GRU] | type[nn.LSTM], **options: bool) -> nn.GRU | nn.LSTM:
    torch.manual_seed(0)
    return kind(F, H, num_layers=2, batch_first=True, **options).eval()


@pytest.mark.parametrize("kind", [nn.GRU, nn.LSTM])
@pytest.mark.parametrize("options", [{}, {"bias": False}, {"bidirectional": True}])
def test_states_from_the_gates_are_the_layers_own(kind: type[nn.GRU] | type[nn.LSTM], options: dict[str, bool]) -> None:
    rnn = layer(kind, **options)
    x_NWF = torch.randn(N, W, F)
    found = list(gates_of(rnn, x_NWF))
    top_NWH = torch.cat([each.hidden_NWH for each in found if each.layer == 1], dim=2)
    assert [each.name for each in found] == (
        ["l0", "l0.reverse", "l1", "l1.reverse"] if "bidirectional" in options else ["l0", "l1"]
    )
    torch.testing.assert_close(top_NWH, rnn(x_NWF)[0].detach(), atol=1e-6, rtol=0.0)


def test_gru_moves_between_its_state_and_the_new_one() -> None:
    for found in gates_of(layer(nn.GRU), torch.randn(N, W, F)):
        h_NWH, update, new = found.hidden_NWH, found.gates["update"], found.gates["new"]
        before_NWH = torch.cat([torch.zeros(N, 1, H), h_NWH[:, :-1]], dim=1)
        torch.testing.assert_close((1.0 - update) * new + update * before_NWH, h_NWH, atol=1e-6, rtol=0.0)


def test_lstm_keeps_its_memory_by_the_forget_gate() -> None:
    for found in gates_of(layer(nn.LSTM), torch.randn(N, W, F)):
        gates, memory_NH = found.gates, torch.zeros(N, H)
        for t in range(W):
            memory_NH = gates["forget"][:, t] * memory_NH + gates["input"][:, t] * gates["cell"][:, t]
            h_NH = gates["output"][:, t] * memory_NH.tanh()
            torch.testing.assert_close(h_NH, found.hidden_NWH[:, t], atol=1e-6, rtol=0.0)


@pytest.mark.parametrize("kind", [nn.GRU, nn.LSTM])
def test_gates_lie_where_they_should(kind: type[nn.GRU] | type[nn.LSTM]) -> None:
    for found in gates_of(layer(kind), 3.0 * torch.randn(N, W, F)):
        for name, gate_NWH in found.gates.items():
            low = -1.0 if name in SIGNED else 0.0
            assert gate_NWH.shape == (N, W, H)
            assert low <= float(gate_NWH.min()) < float(gate_NWH.max()) <= 1.0


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("option", OPTIONS)
@each_mode
def test_options_are_in_the_states(mode: Mode, option: str, bidirectional: bool) -> None:
    rnn = with_options(mode, **OPTIONS[option], bidirectional=bidirectional)
    x_NWF = torch.randn(N, W, F)
    assert has_gates(rnn)
    top_NWH = torch.cat([each.hidden_NWH for each in gates_of(rnn, x_NWF) if each.layer == 1], dim=2)
    torch.testing.assert_close(top_NWH, rnn(x_NWF)[0].detach(), atol=1e-6, rtol=0.0)


@torch.no_grad()
@each_mode
def test_layer_norm_is_in_the_gates(mode: Mode) -> None:
    """Of the first step, which starts from zeros: the norm of W_h h is zero, so that its bias alone is left."""
    rnn: Any = with_options(mode, layer_norm=True)
    x_NWF = torch.randn(N, W, F)
    found = next(gates_of(rnn, x_NWF))
    joined = 2 * H if mode == "GRU" else 4 * H  # of Ba et al.'s GRU reset and update are normalised together
    part_NG = layer_norm(linear(x_NWF[:, 0], rnn.weight_ih_l0[:joined]), (joined,))
    part_NG = part_NG * rnn.norm_ih_l0[:joined] + (rnn.bias_ih_l0 + rnn.bias_hh_l0)[:joined]
    first, second = ("reset", "update") if mode == "GRU" else ("input", "forget")
    torch.testing.assert_close(found.gates[first][:, 0], part_NG[:, :H].sigmoid(), atol=1e-6, rtol=0.0)
    torch.testing.assert_close(found.gates[second][:, 0], part_NG[:, H : 2 * H].sigmoid(), atol=1e-6, rtol=0.0)


@torch.no_grad()
def test_lstm_shows_its_normalised_memory_through_the_output_gate() -> None:
    rnn: Any = with_options("LSTM", layer_norm=True)
    found, memory_NH = next(gates_of(rnn, torch.randn(N, W, F))), torch.zeros(N, H)
    for t in range(W):
        input_, forget, cell, output = (found.gates[name][:, t] for name in ("input", "forget", "cell", "output"))
        memory_NH = forget * memory_NH + input_ * cell
        seen_NH = layer_norm(memory_NH, (H,), rnn.norm_c_l0, rnn.norm_c_bias_l0)
        torch.testing.assert_close(found.hidden_NWH[:, t], output * seen_NH.tanh(), atol=1e-6, rtol=0.0)


def test_cells_of_another_kind_have_none() -> None:
    assert not has_gates(nn.LSTM(F, H, proj_size=2))
    assert not has_gates(nn.RNN(F, H))
