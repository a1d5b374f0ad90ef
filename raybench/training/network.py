"""The network of a configuration, as a training begins with it."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from raybench import models
from raybench.config import Config
from raybench.errors import ConfigError
from raybench.models.weights import load_base


def build_model(config: Config, columns: Sequence[str]) -> torch.nn.Module:
    """Return the network of ``config``, seeded, in the precision it trains in."""
    torch.manual_seed(config.train.seed)
    model = models.build(
        config.model.model_dump(),
        feature_set={"type": config.data.feature_set.type, "columns": list(columns)},
        step_len=config.data.step_len,
        recipe=config.recipe,
        second_features=config.data.second_features,
    )
    if config.train.accumulate_steps > 1 and hasattr(model, "loss"):
        raise ConfigError(
            f"train.accumulate_steps: network {config.model.type} has a loss of its own, which is of a whole batch; "
            "set it to 1, and train.batch_size lower"
        )
    if config.train.activation_checkpoint:
        if not hasattr(model, "checkpoint_chunks"):
            raise ConfigError(f"train.activation_checkpoint is not for network {config.model.type}; set it to false")
        # Stretches of sqrt(W) steps: states between them and inside the one at hand take least memory together.
        setattr(model, "checkpoint_chunks", math.isqrt(config.data.step_len - 1) + 1)  # noqa: B010 (not a tensor)
    return model.double() if config.train.precision == "fp64" else model


def fresh_model(config: Config, columns: Sequence[str]) -> torch.nn.Module:
    """Return the network that a training begins with: its base is loaded where ``model.pretrained`` names one."""
    model = build_model(config, columns)
    pretrained = getattr(config.model, "pretrained", None)
    if pretrained is not None:
        load_base(model, pretrained, columns=columns)
    return model
