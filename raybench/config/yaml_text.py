"""YAML to a tree and back: YAML 1.2 scalars, the line of every key, bounded in size, depth and aliases.

PyYAML reads YAML 1.1, where ``1e-3`` is text and ``no`` is false; here scalars follow the 1.2 core schema.
Dates stay text (the schema reads them). Nothing is ever constructed but mappings, lists, text, numbers,
true/false and null.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from raybench.errors import ConfigError

MAX_CHARACTERS = 1_000_000
MAX_DEPTH = 32
MAX_VALUES = 10_000  # after aliases are expanded, so that ten lines of aliases cannot become a billion values

Path = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Document:
    """What a text says: its values, and the line (from 1) on which each path stands."""

    tree: Any
    lines: Mapping[Path, int]


def parse_yaml(text: str, name: str) -> Document:
    """Read one YAML document; ``name`` is how errors call it."""
    if len(text) > MAX_CHARACTERS:
        raise ConfigError(f"{name}: {len(text)} characters; a configuration has at most {MAX_CHARACTERS}")
    try:
        _check_depth(text, name)
        node = yaml.compose(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = f":{mark.line + 1}" if mark and "\n" in text else ""  # an override has one line
        raise ConfigError(f"{name}{line}: not valid YAML: {error.problem or error.context}") from None
    except yaml.YAMLError as error:
        raise ConfigError(f"{name}: not valid YAML: {' '.join(str(error).split())}") from None
    reader = _Reader(name, has_lines="\n" in text)
    tree = None if node is None else reader.read(node, ())
    return Document(tree=tree, lines=reader.lines)


def dump_yaml(tree: Any) -> str:
    """Write a tree so that YAML 1.1 and 1.2 readers find the same values in it."""
    text: str = yaml.dump(tree, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=110, default_flow_style=None)
    return text


def _check_depth(text: str, name: str) -> None:
    """Look at the events first: composing recurses, and this does not."""
    depth = 0
    for count, event in enumerate(yaml.parse(text, Loader=_Loader)):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if depth > MAX_DEPTH:
            line = f":{event.start_mark.line + 1}" if event.start_mark else ""
            raise ConfigError(f"{name}{line}: nested more than {MAX_DEPTH} levels deep")
        if count > 3 * MAX_VALUES:
            raise ConfigError(f"{name}: more than {MAX_VALUES} values")


class _Loader(yaml.SafeLoader):
    """YAML 1.2 core schema."""


_Loader.yaml_implicit_resolvers = {}  # none of YAML 1.1's


_NUMBER = r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?"
_SCALARS = {  # tag: (pattern, characters it can start with)
    "null": (r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    "bool": (r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    "int": (r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", list("-+0123456789")),
    "float": (_NUMBER + r"|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)", list("-+.0123456789")),
}


class _Dumper(yaml.SafeDumper):
    """Resolvers of both versions, so that text either would take for something else is quoted."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


for _tag, (_pattern, _first) in _SCALARS.items():
    for _side in (_Loader, _Dumper):
        _side.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(rf"^(?:{_pattern})\Z"), _first)


class _Reader:
    """Turns nodes to values, with the line of each."""

    def __init__(self, name: str, *, has_lines: bool) -> None:
        self.name = name
        self.has_lines = has_lines
        self.lines: dict[Path, int] = {}
        self.count = 0

    def error(self, node: yaml.Node, text: str) -> ConfigError:
        line = f":{node.start_mark.line + 1}" if self.has_lines else ""
        return ConfigError(f"{self.name}{line}: {text}")

    def read(self, node: yaml.Node, path: Path) -> Any:
        self.count += 1
        if self.count > MAX_VALUES:
            raise self.error(node, f"more than {MAX_VALUES} values, aliases expanded")
        if len(path) > MAX_DEPTH:
            raise self.error(node, f"nested more than {MAX_DEPTH} levels deep, aliases expanded")
        self.lines.setdefault(path, node.start_mark.line + 1)
        if isinstance(node, yaml.MappingNode) and node.tag == "tag:yaml.org,2002:map":
            return self.mapping(node, path)
        if isinstance(node, yaml.SequenceNode) and node.tag == "tag:yaml.org,2002:seq":
            return [self.read(item, (*path, i)) for i, item in enumerate(node.value)]
        if isinstance(node, yaml.ScalarNode):
            return self.scalar(node)
        raise self.error(node, f"tag {node.tag} is not supported")

    def mapping(self, node: yaml.MappingNode, path: Path) -> dict[str, Any]:
        seen: dict[str, int] = {}
        values: dict[str, Any] = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, yaml.ScalarNode) or key_node.tag != "tag:yaml.org,2002:str":
                raise self.error(key_node, f"{_dotted(path)}want text for a key, quoted if it looks like a number")
            key, line = key_node.value, key_node.start_mark.line + 1
            if key in seen:
                raise self.error(key_node, f"{_dotted((*path, key))}given twice, first on line {seen[key]}")
            seen[key] = line
            self.lines[(*path, key)] = line
            values[key] = self.read(value_node, (*path, key))
        return values

    def scalar(self, node: yaml.ScalarNode) -> str | int | float | bool | None:
        text: str = node.value
        match node.tag:
            case "tag:yaml.org,2002:str":
                return text
            case "tag:yaml.org,2002:null":
                return None
            case "tag:yaml.org,2002:bool":
                return text.lower() == "true"
            case "tag:yaml.org,2002:int":
                return _integer(text) if len(text) < 400 else text
            case "tag:yaml.org,2002:float":
                return _float(text)
        raise self.error(node, f"tag {node.tag} is not supported")


def _integer(text: str) -> int:
    if text.startswith("0o"):
        return int(text[2:], 8)
    if text.startswith("0x"):
        return int(text[2:], 16)
    return int(text)


def _float(text: str) -> float:
    lowered = text.lower().lstrip("+-")
    if lowered == ".nan":
        return math.nan
    if lowered == ".inf":
        return -math.inf if text.startswith("-") else math.inf
    return float(text)


def _dotted(path: Path) -> str:
    return ".".join(map(str, path)) + ": " if path else ""
