"""What decides the rows that a training reads and how they look: nothing of its network, seed or learning rate.

Trainings whose specs agree read one panel. What a network asks of it beyond that (whole dates, a memory of losses) is
said where the panel is made or read.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace

from raybench.config.data.spec import DataConfig
from raybench.config.schema import AnyWeight, Config


@dataclass(frozen=True, slots=True, kw_only=True)
class PanelSpec:
    """The part of a configuration that a panel is made from.

    data : source, universe, features, label, window, segments, processors, start, embargo
    recipe : decides which rows are samples, and through which stage windows go
    sample_weight : the weights that train samples carry, if any
    """

    data: DataConfig
    recipe: str = "raybench"
    sample_weight: AnyWeight | None = None

    @classmethod
    def of(cls, config: Config) -> PanelSpec:
        """The spec of a configuration."""
        return cls(data=config.data, recipe=config.recipe, sample_weight=config.train.sample_weight)

    @property
    def key(self) -> str:
        """A hash of what the spec says: equal for specs that are."""
        weight = self.sample_weight
        said = {
            "data": self.data.model_dump(mode="json", by_alias=True),
            "recipe": self.recipe,
            "sample_weight": None if weight is None else weight.model_dump(mode="json"),
        }
        return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()

    @property
    def second(self) -> PanelSpec | None:
        """The spec of the rows of the second window, None without one."""
        return None if self.data.second_data is None else replace(self, data=self.data.second_data)

    @property
    def flat(self) -> bool:
        """Whether a row of features is a whole window, Alpha360's, and not one step of it."""
        return self.data.feature_set.type == "alpha360"
