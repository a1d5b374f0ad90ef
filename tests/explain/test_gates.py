"""Gates computed from weights are those by which torch's own layers move."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from raybench.explain.gates import SIGNED, gates_of, has_gates
from raybench.models.recurrent import make_rnn

N, W, F, H = 6, 7, 3, 5


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


@pytest.mark.parametrize("mode", ["GRU", "LSTM"])
def test_zoneout_is_in_the_states(mode: str) -> None:
    torch.manual_seed(0)
    rnn = make_rnn(mode, F, H, 2, zoneout=0.2).eval()  # type: ignore[arg-type]
    x_NWF = torch.randn(N, W, F)
    assert has_gates(rnn)
    *_, top = gates_of(rnn, x_NWF)
    torch.testing.assert_close(top.hidden_NWH, rnn(x_NWF)[0].detach(), atol=1e-6, rtol=0.0)


def test_cells_of_another_kind_have_none() -> None:
    assert not has_gates(make_rnn("GRU", F, H, 1, layer_norm=True))
    assert not has_gates(nn.LSTM(F, H, proj_size=2))
    assert not has_gates(nn.RNN(F, H))
