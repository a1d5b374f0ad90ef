"""A run of every network and recipe is accepted as it was written; one of another size is not."""

from __future__ import annotations

from typing import Any

import pytest
import safetensors.torch
import torch

from raybench import models
from raybench.config import Config, load_config
from raybench.config.networks import NETWORKS
from raybench.runs.verified import read_weights, weight_bytes

COLUMNS = ("KMID", "ROC5")


def config(kind: str, recipe: str) -> Config:
    model: dict[str, Any] = {"type": kind}
    data: dict[str, Any] = {
        "bars": "/data/bars",
        "feature_set": {"type": "alpha158", "columns": list(COLUMNS)},
        "step_len": 20,
        "segments": {
            "train": ["2010-01-01", "2012-12-31"],
            "valid": ["2013-01-01", "2013-12-31"],
            "test": ["2014-01-01", "2014-12-31"],
        },
        "processors": {"infer": [], "learn": []},
    }
    if kind == "hist":
        data["concepts"] = "/data/concepts.parquet"
    if kind in ("krnn", "sandwich", "tcn"):
        data["feature_set"], data["step_len"] = {"type": "alpha360"}, 60
    return load_config({"data": data, "model": model, "recipe": recipe})


@pytest.mark.parametrize("recipe", ["raybench", "qlib"])
@pytest.mark.parametrize("kind", [kind for kind in NETWORKS if kind != "lightgbm"])
def test_weights_of_every_network_fit_it(kind: str, recipe: str) -> None:
    wanted = config(kind, recipe)
    feature_set = {"type": wanted.data.feature_set.type, "columns": list(COLUMNS)}
    step_len = wanted.data.step_len
    network = models.build(wanted.model.model_dump(), feature_set=feature_set, step_len=step_len, recipe=recipe)
    data = safetensors.torch.save({name: value.contiguous() for name, value in network.state_dict().items()})
    drawn = torch.random.get_rng_state()
    read = read_weights(data, wanted, COLUMNS)
    assert torch.equal(torch.random.get_rng_state(), drawn)
    assert read.keys() == network.state_dict().keys()
    assert len(data) <= weight_bytes(wanted)
    with pytest.raises(ValueError, match="another network"):
        read_weights(safetensors.torch.save({"w": torch.zeros(1)}), wanted, COLUMNS)
