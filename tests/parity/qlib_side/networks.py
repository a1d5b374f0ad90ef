"""Runs where pyqlib is installed: networks without a file in oracle/models, each with weights and a batch of its own.

    python networks.py OUT

OUT/NAME.npz gets, for every row of NETWORKS, input.* (by the name of raybench's argument), label, state.*, the
output and grad.* of the mean squared error, all in evaluation mode, and the number of parameters. A parameter
without a gradient takes no part in the output and has no grad.*.
"""

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from qlib.contrib.model.pytorch_hist import HISTModel
from qlib.contrib.model.pytorch_nn import Net
from torch import Tensor, nn

Inputs = dict[str, Tensor]
SAMPLES = 48


def mlp(width: int, **kwargs: object) -> tuple[nn.Module, Inputs]:
    """Feed-forward network on flat rows, its running statistics moved by a few batches."""
    network = Net(input_dim=width, **kwargs)
    with torch.no_grad():
        for _ in range(5):
            network(2.0 * torch.randn(SAMPLES, width) + 0.5)
    return network, {"x": torch.randn(SAMPLES, width)}


def hist(base_model: str) -> tuple[nn.Module, Inputs]:
    """One date of Alpha360's flat rows with 0/1 concepts, of which some have no member."""
    torch.get_device = lambda tensor: "cpu"  # the forward pass makes a device of -1 on a CPU, which raises
    concepts = (torch.rand(SAMPLES, 20) < 0.1).float()
    concepts[:, ::7] = 0
    return HISTModel(base_model=base_model), {"x": torch.randn(SAMPLES, 360), "concepts": concepts}


NETWORKS: dict[str, Callable[[], tuple[nn.Module, Inputs]]] = {
    "mlp_alpha158": lambda: mlp(158),
    "mlp_alpha360": lambda: mlp(360),
    "mlp_two_layers": lambda: mlp(360, layers=(64, 32), act="SiLU"),
    "hist_gru": lambda: hist("GRU"),
    "hist_lstm": lambda: hist("LSTM"),
}


def computed(network: nn.Module, inputs: Inputs) -> dict[str, Tensor]:
    """Take a network one step back from a label, without moving it."""
    network.eval()
    label = torch.randn(SAMPLES)
    output = network(*inputs.values()).reshape(-1)
    nn.functional.mse_loss(output, label).backward()
    gradients = {name: value.grad for name, value in network.named_parameters() if value.grad is not None}
    return {
        **{f"input.{name}": value for name, value in inputs.items()},
        **{f"state.{name}": value for name, value in network.state_dict().items()},
        **{f"grad.{name}": value for name, value in gradients.items()},
        "label": label,
        "output": output.detach(),
        "parameters": torch.tensor(sum(value.numel() for value in network.parameters())),
    }


def main() -> None:
    for name, make in NETWORKS.items():
        torch.manual_seed(0)
        result = computed(*make())
        np.savez(Path(sys.argv[1]) / f"{name}.npz", **{key: value.numpy() for key, value in result.items()})


if __name__ == "__main__":
    main()
