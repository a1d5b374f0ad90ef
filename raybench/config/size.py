"""How many parameters a network has: the one place that says it, for ``check``, ``models``, ``train`` and ``adopt``.

Parameters are what is trained: the running means of a batch normalisation, which weights files have too, are none.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from raybench.config.alpha_names import ALPHA360_FIELDS, ALPHA360_NAMES
from raybench.config.networks import NETWORKS
from raybench.config.schema import Config


def parameters(config: Config, num_features: int | None = None) -> int | None:
    """Count the parameters of a configuration's network; None for one of a user's own, or a table not yet opened.

    ``num_features``: after the processors, where the configuration alone does not say it.
    """
    data, model = config.data, config.model.under(config.recipe)
    features = data.num_features if num_features is None else num_features
    if features is None:
        return None
    count = model.parameter_count(features, data.step_len)
    if count is None or data.second_features is None:
        return count
    return count + model.second_parameters(data.second_features)


def row_bytes(config: Config, num_features: int) -> int:
    """Estimate what a row of the panel holds: features, or the raw fields of Alpha360, an index, and a sample.

    As ``data.panel.size`` does with the data opened; there is no second copy of rows in it that recipe qlib may need.
    """
    data = config.data
    if data.feature_set.type != "alpha360":
        return num_features * FLOAT + INDEX + SAMPLE
    ranked = any(
        spec.name == "CSRankNorm" and getattr(spec.arguments, "fields_group", None) in (None, "feature")
        for spec in (*data.processors.infer, *data.processors.learn)
    )
    wide = data.features is not None or ranked
    return (len(ALPHA360_NAMES) if wide else len(ALPHA360_FIELDS)) * FLOAT + SAMPLE


def count_parameters(config: Config, num_features: int, weights: Mapping[str, Any]) -> int:
    """Count the parameters of a network with these ``weights``, which are counted only where nothing else is known."""
    known = parameters(config, num_features)
    if known is not None:
        return known
    return sum(value.numel() for value in weights.values() if value.is_floating_point())


FLOAT, INDEX, SAMPLE = 4, 13, 24  # bytes, as data.panel.size has them


@dataclass(frozen=True, slots=True, kw_only=True)
class Benchmark:
    """Qlib's setting of a network on one set of features, as in configs/: what it reads, and keys beside defaults."""

    num_features: int = 20
    step_len: int = 20
    keys: Mapping[str, Any] = field(default_factory=dict)


_ALPHA158: Mapping[str, Benchmark] = {
    "tcn": Benchmark(keys={"n_chans": 32, "kernel_size": 7}),
    "krnn": Benchmark(keys={"cnn_dim": 8, "rnn_dim": 8, "rnn_dups": 2}),
    "gats": Benchmark(keys={"base_model": "LSTM", "dropout": 0.7}),
    "hist": Benchmark(keys={"base_model": "LSTM"}),
    "tra": Benchmark(step_len=60),
    "sandwich": Benchmark(keys={"cnn_dim_1": 16, "cnn_dim_2": 16, "rnn_dim_1": 8, "rnn_dups": 2}),
    "tabnet": Benchmark(num_features=158, step_len=1),
    "mlp": Benchmark(num_features=157, step_len=1),
    "linear": Benchmark(num_features=158, step_len=1),
    "lightgbm": Benchmark(num_features=158, step_len=1),
    "persistence": Benchmark(num_features=1, step_len=1, keys={"column": "ROC5"}),
}
_ALPHA360: Mapping[str, Mapping[str, Any]] = {
    "tcn": {"kernel_size": 3},
    "krnn": _ALPHA158["krnn"].keys,
    "gats": _ALPHA158["gats"].keys,
    "hist": _ALPHA158["hist"].keys,
    "sandwich": _ALPHA158["sandwich"].keys,
    "lightgbm": {"learning_rate": 0.0421},
    "persistence": {"column": "CLOSE1"},
}


def benchmark(network: str, feature_set: str) -> Benchmark:
    """Return Qlib's setting of a network on alpha158 or alpha360."""
    if feature_set == "alpha158":
        return _ALPHA158.get(network, Benchmark())
    return Benchmark(num_features=6, step_len=60, keys=_ALPHA360.get(network, {}))


def benchmark_parameters(network: str, feature_set: str) -> int | None:
    """Count the parameters of a network in Qlib's setting on alpha158 or alpha360."""
    at = benchmark(network, feature_set)
    return NETWORKS[network](type=network, **at.keys).parameter_count(at.num_features, at.step_len)
