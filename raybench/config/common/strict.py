"""What every part of a configuration has in common: frozen, no unknown keys, no silent conversions.

A part is a pydantic model. ``by_type`` picks one of several parts by its ``type`` key, so that an error
carries the key that is wrong and not the whole union. No torch, no ray, no numpy.
"""

from __future__ import annotations

import datetime as dt
import difflib
from collections.abc import Callable, Iterable, Mapping
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    ValidationError,
    model_validator,
)
from pydantic_core import ErrorDetails, InitErrorDetails, PydanticCustomError

from raybench.config.common.dates import parse_moment


def nearest(name: object, known: Iterable[str]) -> str:
    """Say which known name was probably meant, or list them all."""
    names = sorted(known)
    close = difflib.get_close_matches(str(name), names, n=1, cutoff=0.6 if len(str(name)) > 4 else 0.5)
    if close:
        return f"did you mean {close[0]!r}?"
    return "known: " + ", ".join(names) if names else "there are none"


def problem(text: str) -> PydanticCustomError:
    """Make the error a validator raises; the text is shown as it is."""
    return PydanticCustomError("raybench", "{text}", {"text": text})


def problem_at(*loc: str | int, text: str, given: object = None) -> ValidationError:
    """Make an error about a key below the part that is being validated."""
    return problems_at([(loc, text, given)])


def problems_at(problems: Iterable[tuple[tuple[str | int, ...], str, object]]) -> ValidationError:
    """Make one error out of several, each with its own key."""
    lines = [InitErrorDetails(type=problem(text), loc=loc, input=given) for loc, text, given in problems]
    return ValidationError.from_exception_data("config", lines)


class ConfigPart(BaseModel):
    """A part of a configuration."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        strict=True,
        allow_inf_nan=False,
        populate_by_name=True,
        protected_namespaces=(),
    )

    @model_validator(mode="before")
    @classmethod
    def _known_keys(cls, data: Any) -> Any:
        """Name unknown keys with the key that was probably meant."""
        if cls.model_config.get("extra") != "forbid" or not isinstance(data, Mapping):
            return data
        known = {field.alias or name for name, field in cls.model_fields.items()}
        accepted = known | set(cls.model_fields)
        unknown = [key for key in data if key not in accepted]
        if unknown:
            raise problems_at(((str(key),), f"unknown key; {nearest(key, known)}", data[key]) for key in unknown)
        return data


def by_type(table: Mapping[str, type[ConfigPart]], default: str | None = None) -> Callable[[Any], Any]:
    """Validator for a part that is one of several, told apart by its ``type`` key."""

    def parse(value: Any) -> Any:
        if value is None or isinstance(value, ConfigPart):
            return value
        if not isinstance(value, Mapping):
            raise problem(f"want a mapping with a type, one of {', '.join(sorted(table))}, got {show(value)}")
        kind = value.get("type", default)
        if kind is None:
            raise problem_at("type", text=f"is required (one of {', '.join(sorted(table))})")
        if not isinstance(kind, str) or kind not in table:
            raise problem_at("type", text=f"unknown type {kind!r}; {nearest(kind, table)}", given=kind)
        return table[kind].model_validate({**value, "type": kind})

    return parse


def show(value: object) -> str:
    """Short form of a value for an error, saying what it is where that is the point."""
    if value is None:
        return "nothing (null)"
    if isinstance(value, bool):
        return str(value).lower()
    text = repr(list(value) if isinstance(value, tuple) else value)
    text = text if len(text) <= 60 else text[:57] + "..."
    for kind, word in ((str, "text"), (Mapping, "the mapping"), ((list, tuple), "the list")):
        if isinstance(value, kind):
            return f"{word} {text}"
    return text


_WANTED = {
    "int_type": "want a whole number",
    "int_from_float": "want a whole number",
    "float_type": "want a number",
    "finite_number": "want a finite number",
    "bool_type": "want true or false",
    "string_type": "want text",
    "string_too_short": "want text, not nothing",
    "greater_than": "want more than {gt}",
    "greater_than_equal": "want at least {ge}",
    "less_than": "want less than {lt}",
    "less_than_equal": "want at most {le}",
    "literal_error": "want {expected}",
    "tuple_type": "want a list",
    "list_type": "want a list",
    "dict_type": "want a mapping",
    "model_type": "want a mapping of keys",
    "too_short": "want at least {min_length} of them",
    "too_long": "want at most {max_length} of them",
}


def describe(error: ErrorDetails) -> str:
    """Say what is wrong with a value, in words that suit a configuration file."""
    kind, ctx = error["type"], error.get("ctx", {})
    if kind == "raybench":
        return str(ctx["text"])
    if kind == "missing":
        return "is required"
    wanted = _WANTED.get(kind)
    if wanted is None:
        return f"{error['msg'].lower()}, got {show(error['input'])}"
    text = wanted.format_map(ctx).replace("True", "true").replace("False", "false")
    given = error["input"]
    if kind == "literal_error" and isinstance(given, str):
        names = [name.strip("' ") for name in str(ctx["expected"]).replace(" or ", ", ").split(",")]
        hint = difflib.get_close_matches(given, names, n=1)
        return f"{text}, got {given!r}" + (f"; did you mean {hint[0]!r}?" if hint else "")
    return f"{text}, got {show(given)}" + ("; leave out the quotes" if _is_quoted_number(kind, given) else "")


def first_problem(error: ValidationError) -> str:
    """Say what is wrong first, with its key, for what is no configuration file with lines of its own."""
    first = error.errors()[0]
    return ": ".join(filter(None, (".".join(map(str, first["loc"])), describe(first))))


def _is_quoted_number(kind: str, given: object) -> bool:
    if kind not in ("int_type", "float_type") or not isinstance(given, str):
        return False
    try:
        float(given)
    except ValueError:
        return False
    return True


def _parse_date(value: Any) -> Any:
    try:
        moment = parse_moment(value)
    except ValueError:
        raise problem(f"want a date as 2015-01-31, got {show(value)}") from None
    if moment.time() != dt.time():
        raise problem(f"want a date as 2015-01-31, got {moment.isoformat()}")
    return moment.date()


Date = Annotated[dt.date, BeforeValidator(_parse_date), PlainSerializer(lambda day: day, when_used="always")]
"""A calendar date; text and numbers such as 20150131 are read too."""

Count = Annotated[int, Field(ge=1)]
"""A whole number of at least one."""

Layers = Annotated[int, Field(ge=1, le=1_000)]
"""How many of one kind of module there are, each made one by one."""

Units = Annotated[int, Field(ge=1, le=1_000_000)]
"""How wide a layer is, or how far it sees."""

Rows = Annotated[int, Field(ge=1, le=10_000)]
"""Rows of a window."""

LARGEST, SMALLEST = 1e30, 1e-30  # what float32 has, with room for what optimizers make of a number


def _in_float32(value: float) -> float:
    """Refuse what is infinite or nothing in float32, in which networks compute."""
    if value and not SMALLEST <= abs(value) <= LARGEST:
        raise problem(f"want a size between {SMALLEST:g} and {LARGEST:g}, got {show(value)}")
    return value


Number = Annotated[float, AfterValidator(_in_float32)]
"""A number that float32 can hold."""

NonNegative = Annotated[float, Field(ge=0.0), AfterValidator(_in_float32)]
Positive = Annotated[float, Field(gt=0.0), AfterValidator(_in_float32)]
Share = Annotated[float, Field(ge=0.0, lt=1.0)]
"""A share of one, one excluded."""

Name = Annotated[str, Field(min_length=1)]
