"""A trained run that scores: its network with its weights, applied to one date's cross-section at a time.

A date is scored by forward passes over that date's instruments alone, in sorted order and at a fixed number
of threads, so its scores depend neither on what else is scored with it nor on who does it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from raybench import models
from raybench.config import Config
from raybench.data.panel import Panel

LARGEST_BATCH = 8192  # instruments per forward pass


@dataclass(frozen=True, slots=True, kw_only=True)
class DateScores:
    """Scores of one date: ``instrument_N`` are codes into the panel's instruments, ascending."""

    date: np.datetime64
    instrument_N: NDArray[np.int32]
    score_N: NDArray[np.float32]


class Predictor:
    """A network with its weights in evaluation mode, and the panel of rows that it scores."""

    def __init__(self, config: Config, weights: Mapping[str, torch.Tensor], panel: Panel, device: str = "cpu") -> None:
        model = models.build(
            config.model.model_dump(),
            feature_set={"type": config.data.feature_set.type, "columns": list(panel.columns)},
            step_len=config.data.step_len,
            recipe=config.recipe,
        )
        model.load_state_dict({name: value.float() for name, value in weights.items()})
        self._model = model.eval().to(device)
        segment = panel.segments["score"]
        samples = segment.samples
        order_S = np.lexsort((samples.instrument_S, samples.date_S))
        self._source = segment.source.to(device)
        self._row_S = torch.as_tensor(samples.row_S[order_S], device=device)
        self._instrument_S = samples.instrument_S[order_S]
        self._bounds_T = np.searchsorted(samples.date_S[order_S], np.arange(len(panel.dates) + 1))
        self._dates = panel.dates

    def score_between(self, start: np.datetime64, stop: np.datetime64) -> Iterator[DateScores]:
        """Score each datetime in [start, stop) that has windows."""
        first, last = np.searchsorted(self._dates, [start, stop])
        for date in range(first, last):
            part = slice(self._bounds_T[date], self._bounds_T[date + 1])
            if part.start < part.stop:
                yield DateScores(
                    date=self._dates[date],
                    instrument_N=self._instrument_S[part],
                    score_N=self.score_rows(self._row_S[part]),
                )

    @torch.inference_mode()
    def score_rows(self, row_N: torch.Tensor) -> NDArray[np.float32]:
        """Score the windows that end at rows ``row_N`` of the source -> [N]."""
        parts = [self._model(self._source.gather(part)) for part in row_N.split(LARGEST_BATCH)]
        return np.asarray(torch.cat(parts).float().cpu().numpy())
