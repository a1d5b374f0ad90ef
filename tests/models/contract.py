"""Small networks of every kind, and batches for them: what the contract tests walk over.

A network that is new to MODELS is walked over without a word here. W window, F features, N samples.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from raybench.config.networks import NETWORKS
from raybench.errors import RunError
from raybench.feeds.batches import Batch
from raybench.models import MODELS, build, takes_dates
from raybench.models.interface.direct import FitsDirectly, LabelledSamples
from raybench.models.interface.inputs import Inputs, extra_inputs
from raybench.training.loop import objective

STEP_LEN = 6
FEATURE_SETS: Mapping[str, Mapping[str, Any]] = {
    "alpha158": {"type": "alpha158", "columns": ["KLEN", "KLOW", "ROC5", "STD5"]},
    "alpha360": {"type": "alpha360"},
    "square": {"type": "alpha158", "columns": ["KLEN", "KLOW", "ROC5", "STD5", "RSQR5", "RESI5"]},
}
"""``square``: as many features as rows, without which recipe qlib refuses a TCN."""
FEATURES = {"alpha158": 4, "alpha360": 6, "square": 6}
SMALL: Mapping[str, Any] = {
    **{"hidden_size": 8, "d_model": 8, "n_chans": 8, "layers": [16], "n_d": 8, "n_a": 8, "out_dim": 8},
    **{"num_boost_round": 5, "min_child_samples": 2, "lambda_l1": 0.0, "lambda_l2": 0.0},
}
"""In place of defaults that take long or need many samples, for the networks that have the key."""

KINDS = sorted(MODELS)
TRAINED = [kind for kind in KINDS if NETWORKS[kind].fitting == "gradient"]


def network_of(
    kind: str, feature_set: str = "alpha158", *, recipe: str = "raybench", seed: int = 0, **keys: Any
) -> nn.Module:
    """Build a small seeded network, fitted if that takes no gradient; of ``keys``, those that it has."""
    fields = NETWORKS[kind].model_fields
    chosen = {name: value for name, value in {**SMALL, **keys}.items() if name in fields}
    torch.manual_seed(seed)
    try:
        network = build(
            {"type": kind, **chosen}, feature_set=FEATURE_SETS[feature_set], step_len=STEP_LEN, recipe=recipe
        )
    except RunError as error:
        pytest.skip(str(error))
    if isinstance(network, FitsDirectly):
        inputs = batch_of(network, feature_set, sizes=(64,), seed=seed)
        samples = LabelledSamples(x_BWF=inputs.x_BWF, label_B=label_of(inputs, seed))
        network.fit_directly([samples], [samples], total=lambda value: value, seed=seed)
    return network


def batch_of(
    network: nn.Module, feature_set: str = "alpha158", *, sizes: tuple[int, ...] = (7, 5), seed: int = 1
) -> Inputs:
    """Draw windows of dates with ``sizes`` instruments, and whatever else the network is given."""
    draw, number = torch.Generator().manual_seed(seed), sum(sizes)
    x_NWF = torch.randn(number, STEP_LEN, FEATURES[feature_set], generator=draw)
    shapes = {name: [size or 3 for size in shape] for name, shape in extra_inputs(network).items()}
    named = {name: torch.rand(number, *shape, generator=draw).round() for name, shape in shapes.items()}
    return Inputs(x_BWF=x_NWF, sizes=sizes if takes_dates(network) else None, named=named)


def label_of(inputs: Inputs, seed: int = 2) -> Tensor:
    """Draw a label for each sample."""
    return torch.randn(len(inputs), generator=torch.Generator().manual_seed(seed)).to(inputs.x_BWF.dtype)


def loss_of(network: nn.Module, inputs: Inputs, wrapped: nn.Module | None = None) -> Tensor:
    """Return what the training loop makes of a batch with labels: the network's own loss, or the squared error."""
    label_N = label_of(inputs)
    batch = Batch(inputs=inputs, label_B=label_N, weight_B=None, count=float(len(label_N)))
    return objective(network, inputs.call(wrapped or network), batch) / len(label_N)
