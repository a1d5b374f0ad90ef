"""What a network remembers of its losses while it is trained, see ``feeds.memory``.

Once before a phase, and after each epoch before validation, every sample of train and valid is remembered anew with
the weights as they are. So the memory follows from the weights alone: a resumed training needs no more than those,
and all workers hold the same table, whoever of them computed which part of it.

Shapes: S samples of a segment, N instruments, T dates, K losses per sample.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from raybench.feeds.batches import rank_slice
from raybench.feeds.memory import LossMemory, Remembers, StoredMemory, losses_of
from raybench.feeds.reader import SampleReader
from raybench.feeds.world import World
from raybench.panel import Panel, Segment
from raybench.storage.arrays import as_tensor


class Bank:
    """Keeps ``memory``, which the feeds read from, up to date.

    ``segments`` are those of ``panel`` to learn from, on ``device``, the earliest first.
    """

    def __init__(
        self,
        network: Remembers,
        panel: Panel,
        segments: Sequence[Segment],
        *,
        batch_size: int,
        world: World,
        device: torch.device,
    ) -> None:
        self._panel, self._step_len, self._horizon = panel, panel.step_len, network.horizon
        self._batch_size, self._world = batch_size, world
        self._segments = [(segment.samples, SampleReader(segment, device)) for segment in segments]
        self.memory = LossMemory(
            len(panel.instruments),
            len(panel.dates),
            network.num_states,
            step_len=panel.step_len,
            horizon=network.horizon,
            device=device,
        )

    def refresh(self, model: nn.Module) -> None:
        """Remember all samples with the weights of ``model``, the network or a phase of it; all workers together."""
        model.eval()
        for samples, reader in self._segments:
            mine = rank_slice(len(samples), self._world.rank, self._world.size)
            label_S = as_tensor(samples.label_S)
            parts = [self._losses(model, reader, part, label_S) for part in _cut(mine, self._batch_size)]
            states = self.memory.loss_NTK.shape[2]
            own_SK = torch.cat(parts) if parts else torch.empty(0, states)
            loss_SK = self._world.gather(own_SK.flatten()).view(-1, states)
            self.memory.write(as_tensor(samples.instrument_S), as_tensor(samples.date_S), loss_SK)

    def stored(self) -> bytes:
        """Return the last dates with labels, as many as the samples behind them look back to; see ``StoredMemory``."""
        labelled = [samples.date_S[np.isfinite(samples.label_S)] for samples, _ in self._segments]
        known = np.unique(np.concatenate(labelled))[-(self._step_len + self._horizon) :]
        return StoredMemory(
            instruments=self._panel.instruments,
            dates=self._panel.dates[known],
            loss_NTK=self.memory.loss_NTK[:, torch.from_numpy(known.astype(np.int64))],
        ).to_bytes()

    @staticmethod
    def _losses(model: nn.Module, reader: SampleReader, part: slice, label_S: Tensor) -> Tensor:
        return losses_of(model, reader.read(part), label_S[part])


def _cut(whole: slice, size: int) -> list[slice]:
    return [slice(at, min(at + size, whole.stop)) for at in range(whole.start, whole.stop, size)]
