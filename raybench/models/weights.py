"""Weights from elsewhere: reading them safely and putting them into a network.

A weights file is a flat mapping of parameter name to tensor. Nothing that could run code is opened:
pickles go through torch's restricted reader, everything else is safetensors.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Mapping
from pickle import UnpicklingError

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from raybench.data.storage import read_bytes
from raybench.errors import RunError

NAMES_SHOWN = 3


def read_weights(uri: str) -> dict[str, Tensor]:
    """Read the state of a network onto the CPU, from .safetensors or what torch.save wrote (.pkl, .pt)."""
    data = read_bytes(uri)
    try:
        if uri.endswith(".safetensors"):
            return safetensors.torch.load(data)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about pickles it was not made for, which are refused below
            state = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except (SafetensorError, UnpicklingError, RuntimeError, EOFError, ValueError, KeyError) as error:
        raise RunError(
            f"{uri}: cannot be read as weights without running code from it ({_first_line(error)}); "
            "want safetensors, or a state dict of tensors written by torch.save"
        ) from None
    if not isinstance(state, Mapping) or not all(isinstance(value, Tensor) for value in state.values()):
        raise RunError(f"{uri}: holds {_kind(state)}; want a state dict (parameter name to tensor)")
    return {str(name): value for name, value in state.items()}


def load_qlib_state(module: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Copy the weights of Qlib's network of the same kind into ``module``; all must be there and fit.

    Names under one of ``module.qlib_dead_layers`` (a tuple of prefixes, if it has one) are passed over:
    Qlib stores them, but nothing it computes depends on them.
    """
    dead: tuple[str, ...] = getattr(module, "qlib_dead_layers", ())
    given = {name: value for name, value in state.items() if not name.startswith(dead)}
    wanted = module.state_dict()
    kind = type(module).__name__
    if missing := sorted(wanted.keys() - given.keys()):
        raise RunError(f"weights do not fit {kind}: {_listed(missing)} missing; {_HINT}")
    if extra := sorted(given.keys() - wanted.keys()):
        raise RunError(f"weights do not fit {kind}: {_listed(extra)} unexpected; {_HINT}")
    for name, value in wanted.items():
        if given[name].shape != value.shape:
            raise RunError(
                f"weights do not fit {kind}: {name} is {list(given[name].shape)}, wanted {list(value.shape)}; {_HINT}"
            )
    module.load_state_dict(given)


_HINT = "model.* and data.feature_set must be those that the weights were trained with"


def _listed(names: list[str]) -> str:
    shown = ", ".join(names[:NAMES_SHOWN])
    more = len(names) - NAMES_SHOWN
    return f"{shown} and {more} more" if more > 0 else shown


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)


def _kind(state: object) -> str:
    if not isinstance(state, Mapping):
        return type(state).__name__
    other = next(value for value in state.values() if not isinstance(value, Tensor))
    return f"a mapping with {type(other).__name__} in it"
