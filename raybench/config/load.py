"""From a YAML file, text or mapping, with overrides, to a ``Config``, and back to YAML.

Everything wrong with a configuration is found before any work starts. An error names file, line and key.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from raybench.config.common.strict import ConfigPart, describe
from raybench.config.data.spec import DataConfig
from raybench.config.networks import NETWORKS
from raybench.config.schema import ClusterConfig, Config, TrainConfig
from raybench.config.search_space import with_value
from raybench.config.yaml_text import MAX_DEPTH, Document, dump_yaml, parse_yaml
from raybench.errors import ConfigError

Source = str | os.PathLike[str] | Mapping[str, Any] | Config

Part = TypeVar("Part", bound=ConfigPart)
Overrides = Sequence[str] | Mapping[str, Any]
_EXPONENT = re.compile(r"[-+]?(\.\d+|\d+(\.\d*)?)[eE][-+]?\d+")  # a number that YAML 1.1 takes for text

PATHS = ("bars", "features", "concepts")  # of the keys of data


def load_config(source: Source, overrides: Overrides = ()) -> Config:
    """Read a YAML file, a mapping or a Config; ``overrides`` are ``key.path=value`` with YAML values, or a mapping.

    Relative paths in it stay as they are, which means relative to the working directory. What Python has may hold
    numbers as YAML 1.1 leaves them, such as the text 2e-4, numbers of numpy, and paths.
    """
    if isinstance(source, (str, os.PathLike)):
        name = os.fspath(source)
        tree, places = _overridden(parse_yaml(read_text(source), name), name, overrides)
        return _of_python(tree, places, overrides) if isinstance(overrides, Mapping) else _validated(tree, places)
    return _of_python(*_overridden(_of_mapping(source), "config", overrides))


def parse_config(text: str, *, name: str = "config", overrides: Sequence[str] = ()) -> Config:
    """Read YAML text; ``name`` is how errors call it."""
    return _validated(*_overridden(parse_yaml(text, name), name, overrides))


def parse_part(part: type[Part], text: str, *, name: str, overrides: Sequence[str] = ()) -> Part:
    """Read YAML text as a configuration of another kind than ``Config``, likewise."""
    keys = [field.alias or key for key, field in part.model_fields.items() if field.is_required()]
    tree, places = _overridden(parse_yaml(text, name), name, overrides, wanted=keys)
    try:
        return part.model_validate(tree)
    except ValidationError as error:
        first, *others = _lines_of(error, places)
    raise ConfigError(first + (f" (and {len(others)} more)" if others else ""))


def find_problems(text: str, *, name: str = "config", overrides: Sequence[str] = ()) -> tuple[str, ...]:
    """Say all that is wrong with YAML text, a line each; empty if it is valid."""
    try:
        document, places = _overridden(parse_yaml(text, name), name, overrides)
    except ConfigError as error:
        return (str(error),)
    try:
        Config.model_validate(document)
    except ValidationError as error:
        return _lines_of(error, places)
    return ()


def dump_config(config: Config) -> str:
    """Write a configuration in full; reading it gives an equal one."""
    return dump_yaml(_plain(config.model_dump(by_alias=True)))


def read_text(path: str | os.PathLike[str]) -> str:
    """Read a local file as text."""
    shown = os.fspath(path)
    if shown.startswith("s3://"):
        raise ConfigError(f"{shown}: is not a local file; read it first and give its text to parse_config")
    try:
        return Path(path).expanduser().read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise ConfigError(f"{shown}: no such file; want the path of a YAML configuration") from None
    except IsADirectoryError:
        raise ConfigError(f"{shown}: is a folder; want the path of a YAML configuration") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{shown}: not UTF-8 (byte {error.start}); want a YAML configuration") from None
    except OSError as error:
        raise ConfigError(f"{shown}: cannot be read ({error.strerror})") from None


class _Places:
    """Where each path of the tree was written."""

    def __init__(self, document: Document, name: str) -> None:
        self.name = name
        self.lines = document.lines
        self.overrides: dict[tuple[str, ...], str] = {}

    def of(self, path: tuple[str | int, ...]) -> tuple[int, str]:
        """Give line (0 if there is none) and place of a path, or of the nearest above it."""
        plain = tuple(map(str, path))
        prefixes = [path[:n] for n in range(len(path), 0, -1)]
        for overridden, text in self.overrides.items():
            above, below = plain[: len(overridden)] == overridden, overridden[: len(plain)] == plain
            if above or (below and path not in self.lines):
                return 0, f"override {text}"
        for prefix in prefixes:
            if prefix in self.lines:
                return self.lines[prefix], f"{self.name}:{self.lines[prefix]}"
        return 0, self.name


def _of_mapping(source: Mapping[str, Any] | Config) -> Document:
    tree = source.model_dump(by_alias=True) if isinstance(source, Config) else source
    return Document(tree=_plain_values(tree), lines={})


def _plain_values(value: Any) -> Any:
    """Numbers of numpy as Python's, paths as text."""
    if isinstance(value, Mapping):
        return {key: _plain_values(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain_values(item) for item in value]
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    return value.item() if type(value).__module__ == "numpy" and getattr(value, "ndim", 1) == 0 else value


def _of_python(tree: Mapping[str, Any], places: _Places, keys: Iterable[str] = ("",)) -> Config:
    """Validate; text below ``keys`` where a number belongs is one if only YAML 1.1 takes it for text."""
    try:
        return Config.model_validate(tree)
    except ValidationError as error:
        for details in error.errors():
            given, path = details["input"], tuple(map(str, details["loc"]))
            if not any(f"{'.'.join(path)}.".startswith(f"{key}." if key else "") for key in keys):
                continue
            if details["type"] == "float_type" and isinstance(given, str) and _EXPONENT.fullmatch(given.strip()):
                with suppress(KeyError):  # a place that a validator made up: its error is told
                    tree = with_value(tree, path, float(given))
    return _validated(tree, places)


def _overridden(
    document: Document, name: str, overrides: Overrides, wanted: Sequence[str] = ("data", "model")
) -> tuple[dict[str, Any], _Places]:
    tree, places = document.tree, _Places(document, name)
    if not isinstance(tree, Mapping):
        what = "is empty" if tree is None else f"holds a {type(tree).__name__}"
        raise ConfigError(f"{name}: {what}; want a mapping with the keys {' and '.join(wanted)}")
    tree = dict(tree)
    if isinstance(overrides, Mapping):
        for key, value in overrides.items():
            try:
                tree = with_value(tree, _key_path(key), _plain_values(value))
            except KeyError as missing:
                raise ConfigError(f"{key}: {missing.args[0]}") from None
            places.overrides[_key_path(key)] = f"{key}={value!r}"
        return tree, places
    for text in overrides:
        key, equals, value = text.partition("=")
        path = _key_path(key.strip())
        if not equals or not all(path) or len(path) > MAX_DEPTH:
            raise ConfigError(f"override {text!r}: want key.path=value, such as train.lr=1e-3")
        if path in places.overrides:
            raise ConfigError(f"override {text!r}: {key.strip()} is given twice, also as {places.overrides[path]}")
        if "data" in wanted:
            _check_part(path, f"override {text!r}")
        parsed = parse_yaml(value, f"override {text!r}").tree
        try:
            tree = with_value(tree, path, parsed)
        except KeyError as missing:
            raise ConfigError(f"override {text!r}: {missing.args[0]}") from None
        places.overrides[path] = repr(text)
    return tree, places


def _check_part(path: tuple[str, ...], where: str) -> None:
    """Refuse a key that lacks the name of its part: ``lr`` is ``train.lr``."""
    parts: Mapping[str, type[ConfigPart]] = {"train": TrainConfig, "data": DataConfig, "cluster": ClusterConfig}
    if len(path) > 1 or path[0] in Config.model_fields:
        return
    found = [f"{part}.{path[0]}" for part, fields in parts.items() if path[0] in fields.model_fields]
    if any(path[0] in network.model_fields for network in NETWORKS.values()):
        found.append(f"model.{path[0]}")
    if found:
        raise ConfigError(f"{where}: {path[0]}: unknown key; did you mean {' or '.join(found)}?")


def _key_path(key: str) -> tuple[str, ...]:
    path = tuple(key.split("."))
    # the keys of tune.space hold dots themselves
    return (*path[:2], ".".join(path[2:])) if path[:2] == ("tune", "space") and len(path) > 2 else path


def _validated(tree: Mapping[str, Any], places: _Places) -> Config:
    try:
        return Config.model_validate(tree)
    except ValidationError as error:
        first, *others = _lines_of(error, places)
    more = f" (and {len(others)} more; raybench check lists them)" if others else ""
    raise ConfigError(first + more)


def _lines_of(error: ValidationError, places: _Places) -> tuple[str, ...]:
    """One line for each problem, in the order of the file."""
    found = []
    for details in error.errors():
        line, place = places.of(details["loc"])
        key = ".".join(map(str, details["loc"]))
        text = f"{place}: {key}: {describe(details)}" if key else f"{place}: {describe(details)}"
        # one line, whatever a key holds
        found.append((line, "".join(c if c.isprintable() else " " for c in text)))
    return tuple(text for _, text in sorted(found, key=lambda item: item[0]))


def _plain(value: Any) -> Any:
    """Only what YAML has: tuples become lists."""
    if isinstance(value, ConfigPart):
        return _plain(value.model_dump(by_alias=True))
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value


def with_absolute_paths(config: Config) -> Config:
    """Make its paths absolute, so that it means the same from anywhere; URIs stay as they are."""
    data, model = config.data, config.model
    places: dict[str, Any] = {key: _absolute(getattr(data, key)) for key in PATHS}
    if data.second is not None:
        places["second"] = data.second.model_copy(update={"bars": _absolute(data.second.bars)})
    changed: dict[str, ConfigPart] = {"data": data.model_copy(update=places)}
    # a network of one's own may call something else pretrained
    if model.type in NETWORKS and (base := getattr(model, "pretrained", None)) is not None:
        changed["model"] = model.model_copy(update={"pretrained": _absolute(base)})
    return config.model_copy(update=changed)


def _absolute(path: str | None) -> str | None:
    if path is None or "://" in path:
        return path
    return os.path.abspath(os.path.expanduser(path))
