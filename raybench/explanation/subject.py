"""What is explained: a run's network in evaluation mode, and the cross-sections of dates that it scores.

Shapes: N instruments of one datetime, W rows of lookback (oldest first), F features.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
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
from raybench.models.interface.inputs import Inputs
from raybench.panel import Panel, pack, unpack
from raybench.scoring.predictor import LARGEST_BATCH


@dataclass(frozen=True, slots=True, kw_only=True)
class CrossSection:
    """All instruments of one datetime: names, ascending, what the network is called with, and raw labels.

    ``label_N`` is NaN where there is no label, and where it is infinite.
    """

    moment: np.datetime64
    instrument_N: NDArray[np.str_]
    inputs: Inputs
    label_N: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.instrument_N)


class Subject:
    """A network with its weights, and the panel of rows to explain it on.

    It pickles as plain arrays, so Ray keeps the panel once on each node, and tasks read it without a copy.
    ``memory``: what its run stored, for a network that remembers its losses.
    """

    def __init__(
        self,
        config: Config,
        weights: Mapping[str, NDArray[Any]],
        panel: Panel,
        memory: StoredMemory | None = None,
    ) -> None:
        feature_set = {"type": config.data.feature_set.type, "columns": list(panel.columns)}
        network = models.build(
            config.model.model_dump(),
            feature_set=feature_set,
            step_len=config.data.step_len,
            recipe=config.recipe,
            second_features=config.data.second_features,
        )
        state = {name: torch.tensor(value) for name, value in weights.items()}
        network.load_state_dict({n: v.float() if v.is_floating_point() else v for n, v in state.items()})
        self.network = network.eval()
        self.config = config
        self.features = models.feature_names(feature_set)  # along F
        self._weights, self._panel, self._stored = weights, panel, memory
        segment = panel.segments["score"]
        order_S = np.lexsort((segment.samples.instrument_S, segment.samples.date_S))
        self._samples = segment.samples.take(order_S)
        segment = replace(segment, samples=self._samples)
        self._recall = None
        if config.model.remembers:
            self._recall = Recall(self.network, panel, segment, memory, at_once=LARGEST_BATCH)
        self._reader = SampleReader(segment, "cpu", None if self._recall is None else self._recall.memory)

    @property
    def step_len(self) -> int:
        """W."""
        return self._panel.step_len

    @property
    def across(self) -> bool:
        """Whether a score depends on the other instruments of its date too."""
        return models.takes_dates(self.network)

    def cross_sections(self, start: np.datetime64, stop: np.datetime64) -> Iterator[CrossSection]:
        """Read each datetime in [start, stop) that has windows, in order."""
        panel, samples = self._panel, self._samples
        names = np.asarray(panel.instruments, dtype=np.str_)
        first, last = np.searchsorted(panel.dates, [start, stop])
        for date in range(first, last):
            begin, end = np.searchsorted(samples.date_S, [date, date + 1])
            if begin < end:
                if self._recall is not None:
                    self._recall.reach(date)
                label_N = samples.raw_label_S[begin:end].astype(np.float64)
                yield CrossSection(
                    moment=panel.dates[date],
                    instrument_N=names[samples.instrument_S[begin:end]],
                    inputs=self._reader.read(slice(int(begin), int(end))),
                    label_N=np.where(np.isfinite(label_N), label_N, np.nan),
                )

    @torch.no_grad()
    def scores(self, inputs: Inputs) -> NDArray[np.float64]:
        """Score the instruments of one datetime -> [N]."""
        score_N: NDArray[np.float64] = inputs.call(self.network).double().numpy()
        return score_N

    def __reduce__(self) -> tuple[Any, ...]:
        return _restored, (self.config, self._weights, self._stored, *pack(self._panel))


def _restored(
    config: Config, weights: Mapping[str, NDArray[Any]], memory: StoredMemory | None, spec: Any, arrays: Any
) -> Subject:
    return Subject(config, weights, unpack(spec, arrays), memory)
