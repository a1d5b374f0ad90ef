"""Which columns of somebody's table are features, told by name and type: labels, identifiers and dates are not.

A column that is left out is named with the reason, and can be had all the same: by name, in data.feature_set.columns.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from raybench.columns.numbers import is_number
from raybench.config.panel_spec import PanelSpec
from raybench.config.schema import ColumnWeight
from raybench.errors import DataError
from raybench.reports.text import numbered

if TYPE_CHECKING:
    from raybench.feature_sets.table import FeatureTable

KEYS = ("instrument", "datetime")

LABEL, INDEX, DATE, NAME, NO_NUMBER = "a label", "a row number", "a date", "an identifier", "no numbers"


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_WORD = re.compile(r"[A-Za-z]+|\d+")
_INDEX = re.compile(
    r"(?i)(__index_level_\d+__|unnamed:? ?\d+(\.\d+)*(_level_\d+)?|level_\d+|index|idx|row(_?(id|num|number|nr))?)"
)
_DATES = _words("year month day date quarter week yyyymm yyyymmdd yearmonth year_month trade_date tradedate")
_NAMES = _words("id code symbol ticker secid sec_id permno permco gvkey cusip isin sedol stock_id asset_id")
_AHEAD = _words("fwd forward forwards future next ahead")
_GAIN = _words("ret rets return returns rtn rtns chg change pct gain excess log")
_PRICE = _words("open high low close vwap price prices")
_SPAN = _words("d day days w week weeks m month months h hour hours min t p bar bars")
_MADE = _words("raw rank norm normed cs z zscore bin class reg cls")


@dataclass(frozen=True, slots=True, kw_only=True)
class SetAside:
    """A column that is no feature, and why."""

    name: str
    why: str


def sort_out(schema: Any, label: str) -> tuple[tuple[str, ...], tuple[SetAside, ...]]:
    """The features of an Arrow schema, and what is none; neither has the keys and a ``label`` of numbers."""
    features, others = [], []
    for field in schema:
        numbers = is_number(field.type)
        if field.name in KEYS or (field.name == label and numbers):
            continue
        why = no_feature(field.name) if field.name != label else ""
        why = why or ("" if numbers else NO_NUMBER)
        if why:
            others.append(SetAside(name=field.name, why=why))
        else:
            features.append(field.name)
    return tuple(features), tuple(others)


def no_feature(name: str) -> str:
    """Why a column of this name is no feature; empty if it may be one."""
    if _INDEX.fullmatch(name.strip()):
        return INDEX
    plain = name.strip().lower()
    if plain in _DATES:
        return DATE
    if plain in _NAMES:
        return NAME
    return LABEL if _is_label(plain) else ""


def _is_label(name: str) -> bool:
    """Whether a name speaks of what comes after: LABEL1, label_5d, ('label', 'LABEL0'), target_5d, fwd_ret_5, y."""
    words = {word for word in _WORD.findall(name) if not word.isdigit()}
    if any(word in ("label", "labels") or re.fullmatch(r"label[a-z]?", word) for word in words):
        return True
    rest = words - _SPAN - _MADE
    if rest & _AHEAD and rest <= _AHEAD | _GAIN | _PRICE:
        return bool(rest - _AHEAD) or rest <= {"fwd", "future", "ahead"}
    return bool(rest & {"target", "targets", "y"}) and rest <= _GAIN | {"target", "targets", "y", "true", "actual"}


def used_columns(spec: PanelSpec, features: FeatureTable | None) -> tuple[str, ...]:
    """The feature columns before any processor, in the order of the table."""
    names = spec.data.feature_set.names
    if features is None:
        assert names is not None, "the schema asks for data.features with feature_set table"
        return names
    skipped = {spec.data.label_column, weight_column(spec)}
    found = tuple(name for name in features.columns if name not in skipped)
    if names is None:
        if not found:
            raise DataError(f"{features.uri}: no feature column; want instrument, datetime, features, label")
        return found
    missing = [name for name in names if name not in features.readable]
    if missing:
        refuse_without_numbers(features, missing[0], "data.feature_set names")
        raise DataError(
            f"{features.uri}: no column {missing[0]}, which data.feature_set asks for "
            f"({len(missing)} of {len(names)} are missing)"
        )
    if spec.data.feature_set.type == "table":
        return tuple(name for name in features.readable if name in names and name not in skipped)
    return names


def check_named(spec: PanelSpec, features: FeatureTable) -> None:
    """DataError where the table lacks the label or the weights that a training reads from it."""
    named = (("data.label", spec.data.label_column), ("train.sample_weight.column", weight_column(spec)))
    for key, name in named:
        if name is not None and name not in features.readable:
            refuse_without_numbers(features, name, f"{key} names")
            labels = [c.name for c in features.others if c.why == LABEL and c.name in features.readable]
            labels = [*([features.label] if features.label else []), *labels]
            has = f"labels there are {', '.join(labels)}" if labels else "no column there looks like a label"
            hint = f"; {has}" if key == "data.label" else ""
            raise DataError(f"{features.uri}: no column {name}, which {key} names{hint}")


def refuse_without_numbers(features: FeatureTable, name: str, why: str) -> None:
    """DataError where a column that is not readable is there all the same: it holds text, flags or the like.

    ``why``: it is read, as in "data.label names".
    """
    if any(column.name == name for column in features.others):
        raise DataError(f"{features.uri}: column {name}, which {why}, holds no numbers; write it as numbers")


def weight_column(spec: PanelSpec) -> str | None:
    """The column that samples are weighed by."""
    weight = spec.sample_weight
    return weight.column.removeprefix("$") if isinstance(weight, ColumnWeight) else None


def table_findings(spec: PanelSpec, features: FeatureTable | None) -> Iterator[str]:
    """What is odd about the dates of a table, and its columns that are no features, unless a configuration chooses."""
    if features is not None:
        yield from features.row_dates.told
    if features is None or spec.data.feature_set.columns is not None or spec.data.feature_set.type != "table":
        return
    used = {spec.data.label_column, weight_column(spec)}
    others = tuple(column for column in features.others if column.name not in used)
    if others:
        count = numbered(len(others), "column|columns is|are no feature|features")
        yield f"data.features: {count} and left out: {told(others)}; data.feature_set.columns chooses others"


def told(others: tuple[SetAside, ...], most: int = 8) -> str:
    """Name columns and reasons in a line; empty if there are none."""
    if not others:
        return ""
    named = ", ".join(f"{column.name} ({column.why})" for column in others[:most])
    more = f" and {len(others) - most} more" if len(others) > most else ""
    return f"{named}{more}"
