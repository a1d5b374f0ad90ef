"""A trained run that scores: its network with its weights, applied to one date's cross-section at a time.

A date is scored by forward passes over that date's instruments alone, in sorted order and at a fixed number
of threads, so its scores depend neither on what else is scored with it nor on who does it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from raybench import models
from raybench.config import Config
from raybench.feeds.memory import StoredMemory
from raybench.feeds.reader import SampleReader
from raybench.feeds.recall import Recall
from raybench.models.fused.choice import fused_layers
from raybench.panel import Panel

LARGEST_BATCH = 8192  # instruments per forward pass
THREADS = 1  # per scoring process: fixed, since sums in another order differ in the last bit


@dataclass(frozen=True, slots=True, kw_only=True)
class MomentScores:
    """Scores of one datetime: ``instrument_N`` are names, ascending, each once."""

    moment: np.datetime64
    instrument_N: NDArray[np.str_]
    score_N: NDArray[np.float32]


class Predictor:
    """A network with its weights in evaluation mode, and the panel of rows that it scores.

    ``memory``: what its run stored, for a network that remembers its losses. ``fused``: which recurrent layers it
    runs on a CPU, those that trained it. The last bits hang on them, so it is never asked of a day or a machine.
    """

    def __init__(
        self,
        config: Config,
        weights: Mapping[str, torch.Tensor],
        panel: Panel,
        device: str = "cpu",
        *,
        memory: StoredMemory | None = None,
        fused: bool = False,
    ) -> None:
        model = models.build(
            config.model.model_dump(),
            feature_set={"type": config.data.feature_set.type, "columns": list(panel.columns)},
            step_len=config.data.step_len,
            recipe=config.recipe,
            second_features=config.data.second_features,
        )
        model.load_state_dict({name: value.float() for name, value in weights.items()})
        self._model = model.eval().to(device)
        self._fused = fused
        segment = panel.segments["score"]
        samples = segment.samples
        order_S = np.lexsort((samples.instrument_S, samples.date_S))
        segment = replace(segment, source=segment.source.to(device), samples=samples.take(order_S))
        self._recall = None
        if config.model.remembers:
            self._recall = Recall(self._model, panel, segment, memory, at_once=LARGEST_BATCH, device=device)
        self._reader = SampleReader(segment, device, None if self._recall is None else self._recall.memory)
        self._instrument_S = samples.instrument_S[order_S]
        self._bounds_T = np.searchsorted(samples.date_S[order_S], np.arange(len(panel.dates) + 1))
        self._names = np.asarray(panel.instruments, dtype=np.str_)
        self._dates = panel.dates

    def score_between(self, start: np.datetime64, stop: np.datetime64) -> Iterator[MomentScores]:
        """Score each datetime in [start, stop) that has windows, in order.

        An instrument without a bar there whose score is not a number, since nothing fills its features, has none.
        """
        first, last = np.searchsorted(self._dates, [start, stop])
        for date in range(first, last):
            part = slice(self._bounds_T[date], self._bounds_T[date + 1])
            if part.start < part.stop:
                if self._recall is not None:
                    self._recall.reach(date)
                score_N = self.score_samples(part)
                kept_N = np.isfinite(score_N)
                if not kept_N.all():
                    kept_N |= self._there(part)
                yield MomentScores(
                    moment=self._dates[date],
                    instrument_N=self._names[self._instrument_S[part]][kept_N],
                    score_N=score_N[kept_N],
                )

    def _there(self, part: slice) -> NDArray[np.bool_]:
        """Which samples have any feature on their own date [N]."""
        size = LARGEST_BATCH
        starts = range(part.start, part.stop, size)
        rows = [self._reader.read(slice(at, min(at + size, part.stop))).x_BWF[:, -1] for at in starts]
        there_N: NDArray[np.bool_] = torch.cat([x_BF.isfinite().any(dim=1) for x_BF in rows]).cpu().numpy()
        return there_N

    @torch.inference_mode()
    def score_samples(self, part: slice) -> NDArray[np.float32]:
        """Score the samples at these positions, in the order of (date, instrument) -> [N]."""
        # a network that compares the instruments of a date is given all of them
        size = part.stop - part.start if models.takes_dates(self._model) else LARGEST_BATCH
        starts = range(part.start, part.stop, size)
        with fused_layers(self._fused):
            parts = [self._reader.read(slice(at, min(at + size, part.stop))).call(self._model) for at in starts]
        scores: NDArray[np.float32] = torch.cat(parts).float().cpu().numpy()
        return scores


@contextmanager
def repeatable() -> Iterator[None]:
    """For the time of the block, arithmetic whose last bit does not depend on the machine's load or settings."""
    threads = torch.get_num_threads()
    cudnn: Any = torch.backends.cudnn
    torch.set_num_threads(THREADS)
    try:
        with cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False):
            yield
    finally:
        torch.set_num_threads(threads)
