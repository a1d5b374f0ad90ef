"""What krnn and sandwich are made of: encoders of a convolution over time and the mean of several GRUs.

Shapes: N samples, W rows of lookback, F features, C channels, H hidden. Parameters are named as in Qlib
(<encoder>.cnn_encoder.conv.*, <encoder>.krnn_encoder.rnn_modules.<copy>.*, out_fc.*). The convolution looks both
ways inside the window, never beyond it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from raybench.models.layers.layout import as_flat_rows, as_windows
from raybench.models.layers.recurrence import all_hidden, last_hidden, make_rnn


class ConvolvedNetwork(nn.Module, ABC):
    """Score windows [N, W, F] (or Alpha360's flat rows [N, F*W]) -> [N], by ``out_fc`` of their last encoded step.

    Recipe "qlib" reads them as Qlib does, see ``cut_without_turning``.
    """

    out_fc: nn.Linear

    def __init__(self, num_features: int, recipe: str) -> None:
        super().__init__()
        self.num_features, self.turns_back = num_features, recipe != "qlib"

    @abstractmethod
    def last(self, x_NWF: Tensor) -> Tensor:
        """Encode the last step -> [N, H]."""

    def forward(self, x: Tensor) -> Tensor:
        x_NWF = as_windows(x, self.num_features)
        x_NWF = x_NWF if self.turns_back else cut_without_turning(x_NWF)
        score_N1: Tensor = self.out_fc(self.last(x_NWF))
        return score_N1[:, 0]


def cut_without_turning(x_NWF: Tensor) -> Tensor:
    """Read windows as Qlib's KRNN and Sandwich read Alpha360 -> [N, W, F] with other contents.

    A flat row [F*W] is one block of W lags per feature. Qlib cuts it into W steps of F numbers as it lies, so
    that step 0 gets the F oldest lags of the first feature.
    """
    return as_flat_rows(x_NWF).reshape(x_NWF.shape)


class Encoder(nn.Module):
    """Convolution and averaged GRUs: [N, W, F] -> [N, W, H]."""

    def __init__(
        self,
        num_features: int,
        cnn_dim: int,
        cnn_kernel_size: int,
        rnn_dim: int,
        rnn_dups: int,
        rnn_layers: int,
        dropout: float,
    ) -> None:
        super().__init__()
        self.cnn_encoder = _Convolution(num_features, cnn_dim, cnn_kernel_size)
        self.krnn_encoder = _Copies(cnn_dim, rnn_dim, rnn_dups, rnn_layers, dropout)

    def forward(self, x_NWF: Tensor) -> Tensor:
        y_NWC = self.cnn_encoder(x_NWF)
        return _mean(all_hidden(rnn, y_NWC) for rnn in self._rnns())

    def last(self, x_NWF: Tensor, chunks: int = 1) -> Tensor:
        """Encode the last step alone -> [N, H]."""
        y_NWC = self.cnn_encoder(x_NWF)
        return _mean(last_hidden(rnn, y_NWC, chunks) for rnn in self._rnns())

    def _rnns(self) -> Iterator[nn.RNNBase]:
        return (rnn for rnn in self.krnn_encoder.rnn_modules if isinstance(rnn, nn.RNNBase))


def _mean(copies: Iterator[Tensor]) -> Tensor:
    return torch.stack(list(copies)).mean(dim=0)


class _Convolution(nn.Module):
    """Convolution over time that keeps the length: [N, W, F] -> [N, W, C]."""

    def __init__(self, num_features: int, channels: int, kernel_size: int) -> None:
        super().__init__()
        self.conv = nn.Conv1d(num_features, channels, kernel_size, padding=(kernel_size - 1) // 2)

    def forward(self, x_NWF: Tensor) -> Tensor:
        y_NCW: Tensor = self.conv(x_NWF.transpose(1, 2))
        return y_NCW.transpose(1, 2)


class _Copies(nn.Module):
    """GRUs alike in shape, each with weights of its own; all are given the same."""

    def __init__(self, inputs: int, hidden: int, copies: int, layers: int, dropout: float) -> None:
        super().__init__()
        self.rnn_modules = nn.ModuleList(
            make_rnn("GRU", inputs, hidden, layers, dropout=dropout) for _ in range(copies)
        )
