"""A summary as people read it: a table on a terminal, aligned lines elsewhere."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TextIO

from rich.console import Console
from rich.table import Table
from rich.text import Text

WIDTH_OF_FILES = 200


def print_summary(values: Mapping[str, Any], title: str, stream: TextIO) -> None:
    """Print keys and values; a list of mappings becomes a table of its own, below."""
    plain = {key: value for key, value in values.items() if not is_rows(value)}
    console = Console(file=stream, highlight=False, width=None if stream.isatty() else WIDTH_OF_FILES)
    if stream.isatty():
        _print_table(console, list(_flat(plain)), title)
    else:
        _print_lines(stream, list(_flat(plain)), title)
    for name, rows in values.items():
        if is_rows(rows):
            _print_rows(console, rows, "" if name in title else name)


def is_rows(value: Any) -> bool:
    """Tell whether a value is a non-empty list of mappings."""
    return isinstance(value, (list, tuple)) and bool(value) and all(isinstance(item, Mapping) for item in value)


def shown(value: Any) -> str:
    """Write a value for people: thousands apart, four digits of a fraction, short lists with commas."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:,.4g}" if abs(value) < 1e5 else f"{value:,.0f}"
    if isinstance(value, dt.date | dt.datetime):
        return value.isoformat()
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {shown(item)}" for key, item in value.items())
    if isinstance(value, Sequence) and not isinstance(value, str):
        items = [shown(item) for item in value]
        return ("\n" if any(len(item) > 40 for item in items) else ", ").join(items) or "-"
    if hasattr(value, "item"):  # numpy
        return shown(value.item())
    return str(value)


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", shown(value)


def _print_table(console: Console, rows: list[tuple[str, str]], title: str) -> None:
    if title:
        console.print(Text(title), style="italic")
    if not rows:
        return
    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    table.add_column(style="cyan", no_wrap=True)
    table.add_column(overflow="fold")
    for key, value in rows:
        table.add_row(key, Text(value))
    console.print(table)


def _print_lines(stream: TextIO, rows: list[tuple[str, str]], title: str) -> None:
    width = max((len(key) for key, _ in rows), default=0)
    if title:
        print(title, file=stream)
    for key, value in rows:
        indented = value.replace("\n", "\n" + " " * (width + 2))
        print(f"{key:<{width}}  {indented}", file=stream)


def _print_rows(console: Console, rows: Sequence[Mapping[str, Any]], title: str) -> None:
    keys = list(dict.fromkeys(key for row in rows for key in row))
    table = Table(title=title or None, title_justify="left", box=None, padding=(0, 2, 0, 0), header_style="cyan")
    for key in keys:
        numeric = all(isinstance(row.get(key), (int, float, type(None))) for row in rows)
        table.add_column(key, justify="right" if numeric else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(shown(row.get(key))) for key in keys))
    console.print(table)
