"""Weights from elsewhere: reading them safely and putting them into a network.

A weights file is a flat mapping of parameter name to tensor. Nothing that could run code is opened:
pickles go through torch's restricted reader, everything else is safetensors.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Mapping, Sequence

import safetensors.torch
import torch
from torch import Tensor, nn

from raybench.errors import DataError, RunError, first_line
from raybench.models.foreign import (
    common_prefix,
    holds_arrays,
    is_pickled,
    is_safetensors,
    remedy,
    state_within,
    without_prefix,
)
from raybench.processors import FittedProcessors
from raybench.storage import files
from raybench.storage.files import read_bytes

NAMES_SHOWN = 3
BASE = ("rnn.", "fc_out.")  # what a network built on a GRU or LSTM has in common with one


def read_weights(uri: str) -> dict[str, Tensor]:
    """Read the state of a network onto the CPU, from .safetensors or what torch.save wrote (.pkl, .pt).

    A checkpoint that has it under ``state_dict`` or the like is taken; of other objects it is said what they are.
    """
    try:
        data = read_bytes(uri)
    except DataError:
        if files.is_folder(uri):
            raise RunError(f"{uri}: is a folder; want a file of weights, as model.safetensors of a run is") from None
        raise
    try:
        if uri.endswith(".safetensors") or is_safetensors(data):
            return safetensors.torch.load(data)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about pickles it was not made for, which are refused below
            state = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except Exception as error:  # whatever a file that is no weights makes a reader stumble over
        raise RunError(f"{uri}: {_unreadable(data, error)}") from None
    found = state_within(state)
    if found is None:
        raise RunError(f"{uri}: holds {_kind(state)}; want a state dict (parameter name to tensor)")
    return {str(name): value for name, value in found.items()}


def _unreadable(data: bytes, error: Exception) -> str:
    wanted = "want safetensors, or a state dict of tensors written by torch.save"
    if told := remedy(data):
        return told
    if not is_pickled(data):
        return f"is no file of weights; {wanted}"
    if holds_arrays(data):
        return f"holds arrays of numpy; {wanted}: {{name: torch.from_numpy(array) for each}}"
    return f"cannot be read as weights without running code from it ({_plainly(error)}); {wanted}"


def _plainly(error: Exception) -> str:
    """What torch says of a file, without its advice to open it all the same."""
    return first_line(error).partition("In PyTorch 2.6")[0].removesuffix(" ").partition(" This file can still")[0]


def load_qlib_state(module: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Copy the weights of Qlib's network of the same kind into ``module``; all must be there and fit.

    Names under one of ``module.qlib_dead_layers`` (a tuple of prefixes, if it has one) are passed over:
    Qlib stores them, but nothing it computes depends on them. What DataParallel (``module.``), torch.compile
    (``_orig_mod.``) and others put before every name is taken off.
    """
    dead: tuple[str, ...] = getattr(module, "qlib_dead_layers", ())
    state = without_prefix(state, module.state_dict())
    given = {name: value for name, value in state.items() if not name.startswith(dead)}
    hint = "model.* and data.feature_set must be those that the weights were trained with"
    _check_fit(given, module.state_dict(), f"weights do not fit {type(module).__name__}", hint)
    module.load_state_dict(given)


def load_base(module: nn.Module, uri: str, columns: Sequence[str] | None = None) -> None:
    """Start a network built on a GRU or LSTM from a trained one: copy ``rnn.*`` and, as Qlib does, ``fc_out.*``.

    ``uri`` is a run directory, or a weights file as ``read_weights`` reads it. ``columns`` are the features that
    the network will see: a run that was trained on others is refused. Raises RunError, naming model.pretrained.
    """
    try:
        read = _read_run(uri, columns) if files.is_folder(uri) else read_weights(uri)
    except (DataError, RunError, ValueError) as error:
        raise RunError(f"model.pretrained: {error}") from None
    wanted = {name: value for name, value in module.state_dict().items() if name.startswith(BASE)}
    state = without_prefix(read, wanted)
    given = {name: value for name, value in state.items() if name.startswith(BASE)}
    hint = "want a gru or lstm as model.base_model says, of the same model.hidden_size, num_layers and features"
    _check_fit(given, wanted, f"model.pretrained: {uri} does not fit", hint)
    module.load_state_dict(given, strict=False)


def _read_run(uri: str, columns: Sequence[str] | None) -> dict[str, Tensor]:
    """Read the weights of a finished run."""
    if not files.exists(files.join(uri, "manifest.json")):
        raise RunError(f"{uri} is not a finished run: it has no manifest.json; want the --out of a `raybench train`")
    processors = FittedProcessors.from_json(files.read_text(files.join(uri, "processors.json")))
    if columns is not None and tuple(columns) != tuple(processors.columns):
        differing = sorted(set(columns) ^ set(processors.columns))
        what = _listed(differing) if differing else "their order"
        raise RunError(f"{uri} was trained on other features than data.feature_set names (different: {what})")
    return read_weights(files.join(uri, "model.safetensors"))


def _check_fit(given: Mapping[str, Tensor], wanted: Mapping[str, Tensor], what: str, hint: str) -> None:
    """Refuse weights unless they are those wanted, by name and shape."""
    if (prefix := common_prefix(given)) and not given.keys() & wanted.keys():
        what = f"{what} (all their names have the prefix {prefix!r})"
    if missing := sorted(wanted.keys() - given.keys()):
        raise RunError(f"{what}: {_listed(missing)} missing; {hint}")
    if extra := sorted(given.keys() - wanted.keys()):
        raise RunError(f"{what}: {_listed(extra)} unexpected; {hint}")
    for name, value in wanted.items():
        if value.is_floating_point() and not given[name].is_floating_point():
            raise RunError(
                f"{what}: {name} is of {str(given[name].dtype).removeprefix('torch.')}, wanted float; {hint}"
            )
        if given[name].shape != value.shape:
            sizes = f"{list(given[name].shape)}, wanted {list(value.shape)}"
            raise RunError(f"{what}: {name} is {sizes}; {hint}")


def _listed(names: list[str]) -> str:
    shown = ", ".join(names[:NAMES_SHOWN])
    more = len(names) - NAMES_SHOWN
    return f"{shown} and {more} more" if more > 0 else shown


def _kind(state: object) -> str:
    if not isinstance(state, Mapping):
        return type(state).__name__
    other = next(value for value in state.values() if not isinstance(value, Tensor))
    return f"a mapping with {type(other).__name__} in it"
