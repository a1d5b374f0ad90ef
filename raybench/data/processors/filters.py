"""Processors that drop: rows (DropnaLabel, DropnaProcessor) or feature columns (FilterCol, DropCol)."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from difflib import get_close_matches

from raybench.data.processors.base import ColumnFilter, RowFilter
from raybench.errors import ConfigError


@dataclass(frozen=True, slots=True, kw_only=True)
class DropnaLabel(RowFilter):
    """Rows without a label leave the learn frame."""

    fields_group: str | tuple[str, ...] | None = "label"


@dataclass(frozen=True, slots=True, kw_only=True)
class DropnaProcessor(RowFilter):
    """Rows with NaN in any column of the group leave the learn frame."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FilterCol(ColumnFilter):
    """Only the features of ``col_list`` stay; with fields_group "label" it does nothing."""

    fields_group: str | tuple[str, ...] | None = "feature"

    def select(self, columns: tuple[str, ...]) -> tuple[str, ...]:
        if "feature" not in self.groups:
            return columns
        _require("FilterCol", self.col_list, columns)
        return tuple(column for column in columns if column in self.col_list)


@dataclass(frozen=True, slots=True, kw_only=True)
class DropCol(ColumnFilter):
    """The features of ``col_list`` go."""

    def select(self, columns: tuple[str, ...]) -> tuple[str, ...]:
        _require("DropCol", self.col_list, columns)
        return tuple(column for column in columns if column not in self.col_list)


def _require(name: str, wanted: Collection[str], columns: Collection[str]) -> None:
    for column in wanted:
        # Qlib's configurations may name the label, which is no feature and stays.
        if column not in columns and not column.startswith("LABEL"):
            near = get_close_matches(column, columns, n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise ConfigError(f"processor {name}: col_list names {column!r}, which is not a feature{hint}")
