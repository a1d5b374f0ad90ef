"""The JSON schema of configurations, by which editors complete keys, show what they mean and mark what is wrong.

It is made from the models that check a configuration, so it cannot say anything else than they do, but it says less:
what depends on several keys (segments one after another, a fit range that reaches into valid) only ``check`` finds.
What is valid is valid by the schema too. JSON Schema draft 7, which every editor reads.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from pydantic.json_schema import models_json_schema

from raybench.config.common.strict import ConfigPart
from raybench.config.daily import DailyConfig
from raybench.config.data.processors import PROCESSORS, Arguments
from raybench.config.key_meanings import MEANINGS, OF_DAILY, OF_PROCESSORS
from raybench.config.networks import CUSTOM_TYPE, NETWORKS
from raybench.config.networks.meanings import MEANINGS as NETWORK_MEANINGS
from raybench.config.schema import Config

FILE, DAILY_FILE = "raybench.schema.json", "daily.schema.json"
"""How the files are called where they lie beside configurations."""

Schema = dict[str, Any]

_DRAFT = "http://json-schema.org/draft-07/schema#"
_DATE: Schema = {"type": ["string", "integer"], "examples": ["2015-01-31"]}  # 20150131, 2015/1/31 and more are read
_PREFIX = "#/definitions/"


def config_schema() -> Schema:
    """Make the schema."""
    kinds: list[type[ConfigPart]] = [Config, *NETWORKS.values(), *PROCESSORS.values()]
    _, whole = models_json_schema([(kind, "validation") for kind in kinds], ref_template=f"{_PREFIX}{{model}}")
    found: dict[str, Schema] = {name: _plain(each) for name, each in whole["$defs"].items()}
    for name in _told_apart(found):
        found[name]["required"] = ["type", *(key for key in found[name].get("required", ()) if key != "type")]
    spaces = found["Networks"]["properties"]["choice"]
    spaces["additionalProperties"] = {"anyOf": [spaces["additionalProperties"], {"type": "null"}]}
    found["ModelConfig"] = _any_network(found)
    found["ProcessorSpec"] = _any_processor(found)
    root = found.pop("Config")
    _explain(root, found, lambda path: MEANINGS.get(path, ""))
    for part in root["properties"].values():  # what it is by default is said key by key
        if isinstance(part.get("default"), Mapping):
            del part["default"]
    root["description"] = "A configuration of raybench: what it is trained on, the network, how it is trained."
    needed = sorted(_referred(root, found))
    return {"$schema": _DRAFT, "title": "raybench configuration", **root, "definitions": {n: found[n] for n in needed}}


def daily_schema() -> Schema:
    """Make the schema of what ``raybench daily`` is given."""
    _, whole = models_json_schema([(DailyConfig, "validation")], ref_template=f"{_PREFIX}{{model}}")
    found: dict[str, Schema] = {name: _plain(each) for name, each in whole["$defs"].items()}
    root, models = found.pop("DailyConfig"), found["DailyScore"]["properties"]["model"]
    models["minItems"] = models.pop("minLength", 1)  # pydantic takes a list that was a name before for a text
    found["DailyScore"]["properties"]["model"] = {"anyOf": [dict(models["items"]), models]}  # one alone, too
    _explain(root, found, lambda path: OF_DAILY.get(path, ""))
    root["description"] = "A morning of raybench daily: which bars come, which runs score them, into which table."
    return {"$schema": _DRAFT, "title": "raybench daily", **root, "definitions": dict(sorted(found.items()))}


def _plain(schema: Any) -> Any:
    """Leave out titles, which repeat names; bring dates, pairs and references to forms that editors know."""
    if isinstance(schema, list):
        return [_plain(each) for each in schema]
    if not isinstance(schema, Mapping):
        return schema
    if schema.get("format") == "date":
        return dict(_DATE)
    kept = {
        key: {name: _plain(each) for name, each in value.items()} if key == "properties" else _plain(value)
        for key, value in schema.items()
        if key == "properties" or not (key == "title" and isinstance(value, str))
    }
    if isinstance(sides := kept.pop("prefixItems", None), list):  # draft 7 has other words for it
        kept["items"] = sides[0] if all(side == sides[0] for side in sides) else sides
    if "description" in kept:  # of a class: its first paragraph is for whoever writes a configuration
        kept["description"] = " ".join(str(kept["description"]).partition("\n\n")[0].split())
    if "$ref" in kept and len(kept) > 1:  # in draft 7 nothing beside a reference counts
        kept["allOf"] = [{"$ref": kept.pop("$ref")}]
    return kept


def _any_network(found: dict[str, Schema]) -> Schema:
    """One of the networks with its keys, or a class of somebody's own with whatever keys it has."""
    for network in NETWORKS.values():
        schema = found[network.__name__]
        schema["properties"]["type"] = {"const": network.model_fields["type"].default}
        schema["required"] = ["type"]
        _explain(schema, found, lambda path: NETWORK_MEANINGS.get(path.rpartition(".")[2], ""))
    own: Schema = {
        "type": "object",
        "properties": {"type": {"type": "string", "pattern": f"^{CUSTOM_TYPE.pattern}$"}},
        "required": ["type"],
        "description": "A network of your own, module.path:Class; other keys are arguments of its constructor.",
    }
    return {"anyOf": [*(_ref(network.__name__) for network in NETWORKS.values()), own]}


def _any_processor(found: dict[str, Schema]) -> Schema:
    """A processor by name with its arguments, or its name alone."""
    alone: Schema = {"enum": list(PROCESSORS), "description": "A processor with the arguments that it has by default."}
    return {"anyOf": [*(_one_processor(found, name, kind) for name, kind in PROCESSORS.items()), alone]}


def _one_processor(found: dict[str, Schema], name: str, kind: type[Arguments]) -> Schema:
    _explain(found[kind.__name__], found, lambda key: OF_PROCESSORS.get(key, ""))
    return {
        "type": "object",
        "properties": {
            "class": {"const": name},
            "kwargs": {"anyOf": [_ref(kind.__name__), {"type": "null"}]},
        },
        "required": ["class"],
        "additionalProperties": False,
        "description": found[kind.__name__].get("description", ""),
    }


def _told_apart(found: Mapping[str, Schema]) -> Iterator[str]:
    """Name the parts that are one of several and told apart by their type, which so has to be there."""
    for schema in found.values():
        for value in schema.get("properties", {}).values():
            parts = [name for name in _parts(value) if "type" in found[name].get("properties", {})]
            if len(parts) > 1:
                yield from parts


def _explain(schema: Schema, found: Mapping[str, Schema], meaning: Callable[[str], str], above: str = "") -> None:
    """Write beside each key what it means, by its dotted path; networks and processors explain themselves."""
    for key, value in schema.get("properties", {}).items():
        path = f"{above}.{key}" if above else key
        parts = [name for name in _parts(value) if name not in ("ModelConfig", "ProcessorSpec")]
        for name in parts:
            _explain(found[name], found, meaning, path)
        if text := meaning(path):
            if "$ref" in value:
                value["allOf"] = [{"$ref": value.pop("$ref")}]
            value.setdefault("description", text)


def _parts(value: Schema) -> list[str]:
    """Name the definitions that a key may hold one of."""
    return [_name(each["$ref"]) for each in (value, *value.get("anyOf", ()), *value.get("allOf", ())) if "$ref" in each]


def _referred(schema: Any, found: Mapping[str, Schema]) -> set[str]:
    """Name every definition that a schema needs."""
    needed: set[str] = set()
    waiting = [schema]
    while waiting:
        each = waiting.pop()
        if isinstance(each, Mapping):
            name = _name(each["$ref"]) if isinstance(each.get("$ref"), str) else ""
            if name and name not in needed:
                needed.add(name)
                waiting.append(found[name])
            waiting += each.values()
        elif isinstance(each, list):
            waiting += each
    return needed


def _ref(name: str) -> Schema:
    return {"$ref": f"{_PREFIX}{name}"}


def _name(reference: str) -> str:
    return reference.removeprefix(_PREFIX)
