"""Processors that drop: rows (DropnaLabel, DropnaProcessor) or feature columns (FilterCol, DropCol)."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from difflib import get_close_matches

from raybench.errors import ConfigError
from raybench.processors.base import ColumnFilter, Grouped, RowFilter


@dataclass(frozen=True, slots=True, kw_only=True)
class DropnaLabel(RowFilter):
    """Rows without a label leave the learn frame."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DropnaProcessor(RowFilter):
    """Rows with NaN in any column of the group leave the learn frame."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FilterCol(Grouped, ColumnFilter):
    """Only the features of ``col_list`` stay; with fields_group "label" it does nothing.

    >>> FilterCol(fields_group="feature", col_list=("STD5", "KLEN")).select(("KLEN", "ROC5", "STD5"))
    ('KLEN', 'STD5')
    """

    col_list: tuple[str, ...]

    def select(self, columns: tuple[str, ...]) -> tuple[str, ...]:
        if "feature" not in self.groups:
            return columns
        _require("FilterCol", self.col_list, columns)
        return tuple(column for column in columns if column in self.col_list)


@dataclass(frozen=True, slots=True, kw_only=True)
class DropCol(ColumnFilter):
    """The features of ``col_list`` go.

    >>> DropCol(col_list=("VWAP0",)).select(("KLEN", "VWAP0"))
    ('KLEN',)
    """

    col_list: tuple[str, ...]

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
