"""How many parameters a network has, and how many bytes a row of its panel: the one place that says either.

Parameters are what is trained: the running means of a batch normalisation, which weights files have too, are none.
Bytes are those of the arrays of ``raybench.panel``; how many rows there are, ``panel.size`` tells once data are opened.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from raybench.config.data.alpha_names import ALPHA360_FIELDS, ALPHA360_NAMES
from raybench.config.networks import NETWORKS
from raybench.config.panel_spec import PanelSpec
from raybench.config.schema import Config


def parameters(config: Config, num_features: int | None = None) -> int | None:
    """Count the parameters of a configuration's network; None for one of a user's own, or a table not yet opened.

    ``num_features``: columns after the processors, where the configuration alone does not say it; of Alpha360 it does,
    whose columns are six features at each lag.
    """
    data, model = config.data, config.model.under(config.recipe)
    says = num_features is None or PanelSpec.of(config).flat
    features = data.num_features if says else num_features
    if features is None:
        return None
    count = model.parameter_count(features, data.step_len)
    if count is None or data.second_features is None:
        return count
    return count + model.second_parameters(data.second_features)


def row_bytes(spec: PanelSpec, num_features: int) -> int:
    """Say what a panel keeps of an instrument's date, windows being gathered where they are used.

    Its features and where it lies among the windows; of Alpha360 from bars the six fields that its lags are looked up
    in, but all 360 features where they come from a table or are ranked. ``num_features``: those of a row of a window.
    """
    if keeps_fields(spec):
        return len(ALPHA360_FIELDS) * FLOAT
    if spec.flat:
        return len(ALPHA360_NAMES) * FLOAT
    return num_features * FLOAT + INDEX


def sample_bytes(spec: PanelSpec) -> int:
    """Say what a panel keeps of a sample beside its row: whose it is, its labels, its weight, its second window."""
    weighted, second = spec.sample_weight is not None, spec.data.second is not None
    return SAMPLE + weighted * FLOAT + second * ROW_ID


def keeps_fields(spec: PanelSpec) -> bool:
    """Whether Alpha360 is kept as six fields of all the dates that members have, which its lags are looked up in."""
    data = spec.data
    ranked = any(
        each.name == "CSRankNorm" and each.kwargs["fields_group"] in (None, "feature")
        for each in (*data.processors.infer, *data.processors.learn)
    )
    return spec.flat and data.features is None and not ranked


def count_parameters(config: Config, num_features: int, weights: Mapping[str, Any]) -> int:
    """Count the parameters of a network with these ``weights``, which are counted only where nothing else is known."""
    known = parameters(config, num_features)
    if known is not None:
        return known
    return sum(value.numel() for value in weights.values() if value.is_floating_point())


FLOAT, ROW_ID = 4, 8
INDEX = 13  # of `WindowGrid`: a slot, the first row, the last row of a slot, and whether the window is regular
SAMPLE = 24  # row id, date, instrument, and the label raw and processed


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
