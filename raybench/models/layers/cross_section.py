"""What networks share that compare the instruments of a date: a state for each, dates side by side, and weights.

Several dates are computed at once as a block [D, M, H], the smaller ones padded with rows of zeros. Nothing of a
padded row reaches another: it is weighed by 0, and cut off again.

Shapes: N samples, one date after the other; D dates of at most M instruments; W window, F features, H hidden.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from itertools import accumulate

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from raybench.models.layers.cells import Mode
from raybench.models.layers.layout import as_windows
from raybench.models.layers.recurrence import last_hidden, make_rnn


class CrossSectionNetwork(nn.Module, ABC):
    """What ``gats`` and ``hist`` begin with: recurrent layers that turn each window into a hidden state.

    What a network makes of the states of a date it adds in ``add_layers``. ``checkpoint_chunks`` > 1 trades memory
    for arithmetic in training, see ``recurrence``.
    """

    batches = "dates"

    def __init__(
        self,
        num_features: int,
        hidden_size: int = 64,
        num_layers: int = 2,
        dropout: float = 0.0,
        base_model: Mode = "GRU",
    ) -> None:
        super().__init__()
        self.rnn = make_rnn(base_model, num_features, hidden_size, num_layers, dropout=dropout)
        self.checkpoint_chunks = 1
        self.add_layers(hidden_size)

    @abstractmethod
    def add_layers(self, hidden_size: int) -> None:
        """Make the layers that are given states of H = ``hidden_size``."""

    def states(self, x: Tensor) -> Tensor:
        """Turn windows [N, W, F] (or Alpha360's flat rows [N, F*W]) into hidden states [N, H]."""
        return last_hidden(self.rnn, as_windows(x, self.rnn.input_size), self.checkpoint_chunks)


@dataclass(frozen=True, slots=True, kw_only=True)
class DateBlock:
    """How N samples lie in a block [D, M].

    present_DM: where there is an instrument; None where there is one everywhere (all dates are of one size).
    place_N: where each sample lies in the block, its first two axes taken as one.
    """

    sizes: tuple[int, ...]
    present_DM: Tensor | None = None
    place_N: Tensor | None = None

    @classmethod
    def of(cls, sizes: tuple[int, ...] | None, value_NH: Tensor) -> DateBlock:
        """Lay out dates of these sizes; None: all samples are one date."""
        if sizes is None:
            return cls(sizes=(value_NH.shape[0],))
        assert sum(sizes) == value_NH.shape[0], f"dates of {sizes} instruments, but {value_NH.shape[0]} samples"
        if min(sizes) == max(sizes):
            return cls(sizes=sizes)
        present_DM = torch.arange(max(sizes)) < torch.tensor(sizes)[:, None]
        place_N = present_DM.flatten().nonzero()[:, 0]
        return cls(sizes=sizes, present_DM=present_DM.to(value_NH.device), place_N=place_N.to(value_NH.device))

    @property
    def present_D1M(self) -> Tensor | None:
        """Which instruments each instrument may be compared with."""
        return None if self.present_DM is None else self.present_DM[:, None, :]

    def pad(self, value_NH: Tensor) -> Tensor:
        """Put samples side by side -> [D, M, H], zero where there is none."""
        if self.present_DM is None:
            return value_NH.reshape(len(self.sizes), self.sizes[0], *value_NH.shape[1:])
        ends = list(accumulate(self.sizes))
        return pad_sequence(list(value_NH.tensor_split(ends[:-1])), batch_first=True)

    def join(self, value_DMH: Tensor) -> Tensor:
        """Undo ``pad`` -> [N, H]."""
        value_PH = value_DMH.flatten(0, 1)
        return value_PH if self.place_N is None else value_PH.index_select(0, self.place_N)


class MaskedSoftmax(nn.Module):
    """Weights over the last axis: positive where something is present, 0 elsewhere, their sum 1.

    It is a module so that a hook on it sees the weights. Where nothing at all is present they are equal, and
    what they weigh must be zero.

    >>> MaskedSoftmax()(torch.zeros(1, 3), torch.tensor([[True, True, False]])).tolist()
    [[0.5, 0.5, 0.0]]
    """

    explains = "attention"

    def forward(self, logit: Tensor, present: Tensor | None = None) -> Tensor:
        if present is not None:
            # not -inf: a row without anything present would become NaN
            logit = logit.masked_fill(~present, torch.finfo(logit.dtype).min)
        return logit.softmax(-1)
