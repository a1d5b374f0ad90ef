"""TCN: residual blocks of causal dilated convolutions, the last step to one score (Bai, Kolter and Koltun 2018).

Shapes: N samples, W rows of lookback, F features, C channels, S steps of those W that still matter, K kernel.
Parameters are named as in Qlib (tcn.network.<block>.conv1.*, linear.*).

Block i has dilation 2^i, but no convolution here is dilated: the score asks for the last step alone, and that
depends, in block i, on every 2^i-th step before it. So each block works on every second step of the one below,
which gives the same numbers and computes fewer than 2 W steps in place of num_layers x W.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from raybench.config.data.alpha_names import ALPHA360_FIELDS, ALPHA360_STEPS
from raybench.errors import ConfigError
from raybench.models.layers.layout import as_windows


class TCN(nn.Module):
    """Score windows [N, W, F] (or Alpha360's flat rows [N, F*W]) -> [N], features as channels.

    The score sees the last 1 + 2 (kernel_size - 1) (2^num_layers - 1) rows. With recipe "qlib" it scores as
    Qlib 0.9.7 predicts from windows: it takes their rows for channels and their features for time, although it
    was trained and validated (``fitting``) the right way round. ConfigError where there are not as many rows as
    features. Alpha360, which Qlib gives as flat rows, it reads rightly.
    """

    fitting = False

    def __init__(
        self,
        num_features: int,
        n_chans: int = 128,
        kernel_size: int = 5,
        num_layers: int = 5,
        dropout: float = 0.5,
        *,
        step_len: int,
        recipe: str = "raybench",
    ) -> None:
        super().__init__()
        # Alpha360 is known by its shape, so that a table with its columns counts as well.
        alpha360 = (num_features, step_len) == (len(ALPHA360_FIELDS), ALPHA360_STEPS)
        self.num_features, self.scores_rows_as_channels = num_features, recipe == "qlib" and not alpha360
        if self.scores_rows_as_channels and step_len != num_features:
            raise ConfigError(
                f"data.step_len: tcn of recipe qlib takes rows for channels and needs as many as features, got "
                f"{step_len} rows of {num_features}; set data.step_len to {num_features} or recipe to raybench"
            )
        self.tcn = _Blocks(num_features, n_chans, kernel_size, num_layers, dropout)
        self.linear = nn.Linear(n_chans, 1)
        # Qlib stores each convolution a second time under the name of the sequence that holds it.
        self.qlib_dead_layers = tuple(f"tcn.network.{number}.net." for number in range(num_layers))

    def forward(self, x: Tensor) -> Tensor:
        x_NWF = as_windows(x, self.num_features)
        rows_are_channels = self.scores_rows_as_channels and not self.fitting
        last_NC = self.tcn(x_NWF if rows_are_channels else x_NWF.transpose(1, 2))
        score_N1: Tensor = self.linear(last_NC)
        return score_N1[:, 0]


class _Blocks(nn.Module):
    """Blocks one on the other: [N, C, S] -> the last step [N, C]."""

    def __init__(self, inputs: int, channels: int, kernel_size: int, blocks: int, dropout: float) -> None:
        super().__init__()
        widths = [inputs] + [channels] * (blocks - 1)
        self.network = nn.ModuleList(_Block(width, channels, kernel_size, dropout) for width in widths)

    def forward(self, x_NCS: Tensor) -> Tensor:
        for number, block in enumerate(self.network):
            if number:
                x_NCS = x_NCS[:, :, (x_NCS.shape[2] - 1) % 2 :: 2]  # every second step, the last among them
            x_NCS = block(x_NCS)
        return x_NCS[:, :, -1]


class _Block(nn.Module):
    """Two convolutions, each with ReLU and dropout, added to what came in: [N, C, S] -> [N, C, S]."""

    def __init__(self, inputs: int, channels: int, kernel_size: int, dropout: float) -> None:
        super().__init__()
        self.conv1 = CausalConvolution(inputs, channels, kernel_size)
        self.conv2 = CausalConvolution(channels, channels, kernel_size)
        self.dropout = nn.Dropout(dropout)
        self.downsample = nn.Conv1d(inputs, channels, 1) if inputs != channels else None
        if self.downsample is not None:
            # Qlib draws its convolutions so too, but weight normalisation overwrites them: those stay torch's.
            nn.init.normal_(self.downsample.weight, 0.0, 0.01)

    def forward(self, x_NCS: Tensor) -> Tensor:
        inner_NCS = self.dropout(torch.relu(self.conv1(x_NCS)))
        inner_NCS = self.dropout(torch.relu(self.conv2(inner_NCS)))
        outer_NCS = x_NCS if self.downsample is None else self.downsample(x_NCS)
        return torch.relu(inner_NCS + outer_NCS)


class CausalConvolution(nn.Module):
    """Convolution [N, C, S] -> [N, C', S] of which step s sees steps up to s; before the first are zeros.

    Its weights are g v / |v|, a length and a direction for each channel (Salimans and Kingma 2016).
    """

    def __init__(self, inputs: int, channels: int, kernel_size: int) -> None:
        super().__init__()
        fresh = nn.Conv1d(inputs, channels, kernel_size)
        assert fresh.bias is not None
        self.weight_v = nn.Parameter(fresh.weight.detach())
        self.weight_g = nn.Parameter(_lengths(self.weight_v).detach())
        self.bias = nn.Parameter(fresh.bias.detach())

    def forward(self, x_NCS: Tensor) -> Tensor:
        weight_CCK = self.weight_v * (self.weight_g / _lengths(self.weight_v))
        return functional.conv1d(functional.pad(x_NCS, (weight_CCK.shape[2] - 1, 0)), weight_CCK, self.bias)


def _lengths(weight_CCK: Tensor) -> Tensor:
    length_C11: Tensor = torch.linalg.vector_norm(weight_CCK, dim=(1, 2), keepdim=True)
    return length_C11
