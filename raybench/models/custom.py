"""A user's own network: ``module.path:Class``, imported, constructed, and tried once on two windows.

Shapes: N samples, W rows of lookback, F features; the class has to map [N, W, F] to scores [N].

Importing a module runs its code. A configuration is the word of who starts the command; a run directory may
come from anybody, so ``runs.artifact.load_run`` refuses one that names such a class unless it is trusted.
"""

from __future__ import annotations

import importlib
import inspect
import os
import sys
import traceback
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from raybench.config.common.strict import nearest
from raybench.errors import ConfigError, in_one_line
from raybench.models.interface.inputs import extra_inputs

_NOT_THEIRS = ("<", *(str(Path(file).parent) for file in (importlib.__file__, torch.__file__, __file__)))


def network_class(kind: str) -> type[nn.Module]:
    """Import the class that ``module.path:Class`` names; ConfigError if it is not there or no network.

    The working directory counts as part of the Python path, behind the rest of it.
    """
    module_name, _, name = kind.partition(":")
    module = _imported(module_name)
    found = getattr(module, name, None)
    if found is None:
        known = [key for key, value in vars(module).items() if _is_network(value)]
        raise ConfigError(f"model.type: {module_name} has no {name}; {nearest(name, known)}")
    if not _is_network(found):
        what = f"the class {found.__name__}" if inspect.isclass(found) else f"of type {type(found).__name__}"
        raise ConfigError(f"model.type: {kind} is {what}; want a class derived from torch.nn.Module")
    network: type[nn.Module] = found
    return network


def build_custom(
    kind: str, keys: Mapping[str, Any], num_features: int, *, step_len: int, offered: Mapping[str, Any]
) -> nn.Module:
    """Make the network ``kind`` with its ``keys``, and with those of ``offered`` that its constructor has.

    ConfigError names ``model.type`` or the key where import, construction or a pass over two windows fails.
    """
    network_type = network_class(kind)
    arguments = {**keys, **_checked(network_type, kind, keys, offered)}
    try:
        network = network_type(num_features, **arguments)
    except Exception as error:
        raise ConfigError(f"model.type: {kind} cannot be made: {_told_with_place(error)}") from error
    _try(network, kind, num_features, step_len)
    return network


def _imported(name: str) -> ModuleType:
    here = os.getcwd()
    if here not in sys.path and "" not in sys.path:
        sys.path.append(here)  # last, and for good: what the module imports later may lie beside it
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{name}.".startswith(f"{error.name}."):
            raise ConfigError(f"model.type: importing {name} failed: {_told_with_place(error)}") from error
        raise ConfigError(
            f"model.type: there is no module {error.name} on the Python path or in {here}; "
            "start where it lies, or set PYTHONPATH"
        ) from None
    except (Exception, SystemExit) as error:
        raise ConfigError(f"model.type: importing {name} failed: {_told_with_place(error)}") from error


def _is_network(value: object) -> bool:
    return inspect.isclass(value) and issubclass(value, nn.Module)


def _checked(
    network_type: type[nn.Module], kind: str, keys: Mapping[str, Any], offered: Mapping[str, Any]
) -> Mapping[str, Any]:
    """Compare the keys with the constructor's arguments; return what it asks for of what is offered."""
    arguments = dict(inspect.signature(network_type).parameters)
    if not arguments:
        raise ConfigError(f"model.type: {kind} takes no argument; want the number of features as the first")
    first, *others = arguments.values()
    open_ended = any(argument.kind is argument.VAR_KEYWORD for argument in arguments.values())
    own = [argument for argument in others if argument.kind in (argument.KEYWORD_ONLY, argument.POSITIONAL_OR_KEYWORD)]
    names = [argument.name for argument in own if argument.name not in offered]
    for key in keys:
        if key in offered or key == first.name:
            raise ConfigError(f"model.{key}: {kind} is given this; leave the key out")
        if key not in names and not open_ended:
            raise ConfigError(f"model.{key}: {kind} has no such argument; {nearest(key, names)}")
    for argument in own:
        if argument.default is argument.empty and argument.name in names and argument.name not in keys:
            raise ConfigError(f"model.{argument.name}: {kind} wants this; add the key")
    if offered.get("second_features") is not None and "second_features" not in arguments:
        raise ConfigError(f"data.second: {kind} has no argument second_features, so it takes one window; want null")
    return {name: value for name, value in offered.items() if name in arguments}


def _try(network: nn.Module, kind: str, num_features: int, step_len: int) -> None:
    """Score two windows, which draws nothing from the global generator and leaves no trace in the network."""
    draw = torch.Generator().manual_seed(0)
    x_NWF = torch.randn(2, step_len, num_features, generator=draw)
    named = {
        name: torch.rand(2, *(size or step_len for size in sizes), generator=draw)
        for name, sizes in extra_inputs(network).items()
    }
    training = network.training
    try:
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            score = network.eval()(x_NWF, **named)
    except Exception as error:
        raise ConfigError(
            f"model.type: {kind} fails on windows {list(x_NWF.shape)}: {_told_with_place(error)}"
        ) from error
    finally:
        network.train(training)
    wanted = f"want a float tensor [2], one score per window, for windows {list(x_NWF.shape)}"
    if not isinstance(score, Tensor):
        raise ConfigError(f"model.type: {kind} gives {type(score).__name__}; {wanted}")
    if score.shape != (2,) or not score.is_floating_point():
        kind_of = str(score.dtype).removeprefix("torch.")
        raise ConfigError(f"model.type: {kind} gives {kind_of} {list(score.shape)}; {wanted}")
    if not any(value.requires_grad for value in network.parameters()):
        raise ConfigError(f"model.type: {kind} has no parameters to train; are its layers attributes of self?")


def _told_with_place(error: BaseException) -> str:
    """Say in one line what went wrong, and where in the user's own files."""
    frames = [f for f in traceback.extract_tb(error.__traceback__) if not f.filename.startswith(_NOT_THEIRS)]
    where = f" ({Path(frames[-1].filename).name}, line {frames[-1].lineno})" if frames else ""
    return in_one_line(error) + where
