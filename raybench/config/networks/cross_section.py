"""Networks that compare the instruments of a date: gats, hist."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar, Literal

from raybench.config.common.strict import Layers, Name, Share, Units
from raybench.config.data.spec import DataConfig
from raybench.config.networks.network import Batches, Misfit, ModelConfig, linear, recurrent

GATES = {"GRU": 3, "LSTM": 4}


class _CrossSection(ModelConfig):
    """A recurrent base turns each window into a hidden state; then those of a date meet.

    ``pretrained``: a run of gru or lstm, or Qlib's weights of one, that the base and the head start from.
    """

    recurrent: ClassVar[bool] = True
    batches: ClassVar[Batches] = "dates"
    needs: ClassVar[str] = "every instrument of a date at once"

    base_model: Literal["GRU", "LSTM"] = "GRU"
    hidden_size: Units = 64
    num_layers: Layers = 2
    dropout: Share = 0.0
    pretrained: Name | None = None

    @property
    def kwargs(self) -> dict[str, Any]:
        # what a training starts from is no argument of the network: a trained one has its own weights
        return self.model_dump(exclude={"type", "pretrained"})

    def _base(self, num_features: int) -> int:
        return recurrent(GATES[self.base_model], num_features, self.hidden_size, self.num_layers)


class GATs(_CrossSection):
    """Graph attention (Velickovic et al. 2018) on the complete graph of a date."""

    type: Literal["gats"] = "gats"

    def parameter_count(self, num_features: int, step_len: int) -> int:
        size = self.hidden_size
        return self._base(num_features) + 2 * linear(size, size) + 2 * size + linear(size, 1)


class HIST(_CrossSection):
    """Shared information by known and by hidden concepts (Xu et al. 2021)."""

    needs: ClassVar[str] = "every instrument of a date at once, and data.concepts"
    uses_concepts: ClassVar[bool] = True

    type: Literal["hist"] = "hist"

    def misfits(self, data: DataConfig, num_workers: int | None, recipe: str) -> Iterator[Misfit]:
        yield from super().misfits(data, num_workers, recipe)
        if data.concepts is None:
            text = "is required by hist: a table of instrument, concept, start, end (Parquet or CSV)"
            yield ("data", "concepts"), text, None

    def parameter_count(self, num_features: int, step_len: int) -> int:
        size = self.hidden_size
        return self._base(num_features) + 7 * linear(size, size) + linear(size, 1)
