"""The networks, one file each: x [N, W, F] -> score [N]."""

__all__ = [
    "alstm",
    "gats",
    "gru",
    "hist",
    "krnn",
    "lightgbm",
    "linear",
    "localformer",
    "lstm",
    "mlp",
    "persistence",
    "sandwich",
    "tabnet",
    "tcn",
    "tra",
    "transformer",
]
