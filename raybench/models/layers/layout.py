"""How one sample is laid out: windows [N, W, F] everywhere, Qlib's flat rows [N, F*W] at the door.

Shapes: N samples, W rows of lookback (oldest first), F features. NaN passes through unchanged.
"""

from __future__ import annotations

from torch import Tensor

from raybench.config.data.alpha_names import ALPHA360_FIELDS


def unflatten_alpha360(x_NK: Tensor, num_fields: int = len(ALPHA360_FIELDS)) -> Tensor:
    """Turn Alpha360's flat rows into windows: [N, F*W] -> [N, W, F], a view.

    A flat row holds one block per field (close, open, high, low, vwap, volume) and within a block
    the lags from oldest to newest, as Qlib's Alpha360 table has its columns.

    >>> import torch
    >>> unflatten_alpha360(torch.tensor([[1, 2, 3, 10, 20, 30]]), num_fields=2).tolist()
    [[[1, 10], [2, 20], [3, 30]]]
    """
    return x_NK.reshape(x_NK.shape[0], num_fields, -1).transpose(1, 2)


def as_windows(x: Tensor, num_features: int) -> Tensor:
    """Take windows [N, W, F] as they are and flat feature-major rows [N, F*W] as windows."""
    return unflatten_alpha360(x, num_features) if x.dim() == 2 else x


def as_flat_rows(x: Tensor) -> Tensor:
    """Take flat feature-major rows [N, F*W] as they are and windows [N, W, F] as such rows.

    >>> import torch
    >>> as_flat_rows(torch.tensor([[[1, 10], [2, 20], [3, 30]]])).tolist()
    [[1, 2, 3, 10, 20, 30]]
    """
    return x if x.dim() == 2 else x.transpose(1, 2).flatten(1)
