"""Input gradients against finite differences."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from raybench.explanation.gradients import input_gradients
from raybench.models.interface.inputs import Inputs
from raybench.models.networks.gru import GRU


def test_gradients_are_finite_differences() -> None:
    torch.manual_seed(0)
    network = GRU(num_features=3, hidden_size=4, num_layers=2).double().eval()
    x_NWF = torch.randn(3, 4, 3, dtype=torch.float64)
    found_NWF = input_gradients(network, Inputs(x_BWF=x_NWF))
    assert found_NWF is not None
    step, expected_NWF = 1e-6, torch.empty_like(x_NWF)
    with torch.no_grad():
        for place in torch.cartesian_prod(*(torch.arange(size) for size in x_NWF.shape)):
            n, w, f = (int(i) for i in place)
            shift_NWF = torch.zeros_like(x_NWF)
            shift_NWF[n, w, f] = step
            # each score by its own window: instrument n's score alone
            expected_NWF[n, w, f] = (network(x_NWF + shift_NWF)[n] - network(x_NWF - shift_NWF)[n]) / (2 * step)
    torch.testing.assert_close(found_NWF, expected_NWF, atol=1e-8, rtol=1e-6)
    assert all(parameter.grad is None for parameter in network.parameters())


class Trees(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.detach().sum(dim=(1, 2))


class Blind(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.level = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        return self.level.expand(len(x))


def test_what_cannot_be_differentiated_has_none() -> None:
    inputs = Inputs(x_BWF=torch.randn(2, 3, 4))
    assert input_gradients(Trees(), inputs) is None
    assert input_gradients(Blind(), inputs) is None
