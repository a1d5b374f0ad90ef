"""A summary as people read it: a table on a terminal, aligned lines elsewhere."""

from __future__ import annotations

import datetime as dt
import os
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TextIO

from rich.console import Console
from rich.table import Table
from rich.text import Text

from raybench.cli.visible import visible

WIDTH_OF_FILES = 200
SHORT = 13  # letters of a cell that is not broken


def print_summary(values: Mapping[str, Any], title: str, stream: TextIO) -> None:
    """Print keys and values; a list of mappings becomes a table of its own, below."""
    plain = {key: value for key, value in values.items() if not is_rows(value)}
    width = None if stream.isatty() or os.environ.get("COLUMNS", "").isdigit() else WIDTH_OF_FILES
    console = Console(file=stream, highlight=False, width=width)
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
    """Write a value for people: thousands apart, four digits of a fraction, lists with commas, midnight as a date."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:,.4g}" if abs(value) < 1e5 else f"{value:,.0f}"
    if isinstance(value, dt.datetime):
        return value.isoformat(sep=" ").removesuffix(" 00:00:00")
    if isinstance(value, dt.date):
        return value.isoformat()
    if isinstance(value, Mapping):
        return ", ".join(f"{visible(str(key))} {shown(item)}" for key, item in value.items())
    if isinstance(value, Sequence) and not isinstance(value, str):
        items = [shown(item) for item in value]
        if any(len(item) > 40 for item in items):
            return "\n".join(items)
        # on lines that fit a terminal of 80 columns beside their key
        return textwrap.fill(", ".join(items), 56, break_long_words=False, break_on_hyphens=False) or "-"
    if hasattr(value, "item"):  # numpy
        return shown(value.item())
    return visible(str(value))


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield visible(f"{prefix}{key}"), shown(value)


def _print_table(console: Console, rows: list[tuple[str, str]], title: str) -> None:
    if title:
        console.print(Text(visible(title)), style="italic")
    if not rows:
        return
    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    table.add_column(style="cyan", no_wrap=True)
    table.add_column(overflow="fold")
    for key, value in rows:
        table.add_row(Text(key), Text(value))
    console.print(table)


def _print_lines(stream: TextIO, rows: list[tuple[str, str]], title: str) -> None:
    width = max((len(key) for key, _ in rows), default=0)
    if title:
        print(visible(title), file=stream)
    for key, value in rows:
        indented = value.replace("\n", "\n" + " " * (width + 2))
        print(f"{key:<{width}}  {indented}", file=stream)


def _print_rows(console: Console, rows: Sequence[Mapping[str, Any]], title: str) -> None:
    keys = list(dict.fromkeys(key for row in rows for key in row))
    cells = {key: [shown(row.get(key)) for row in rows] for key in keys}
    widths = {
        key: max(map(len, [str(key), *(line for cell in cells[key] for line in cell.split("\n"))])) for key in keys
    }
    fits = sum(widths.values()) + 2 * len(keys) <= console.width
    table = Table(
        title=Text(visible(title)) if title else None,
        title_justify="left",
        box=None,
        padding=(0, 2 if fits else 1, 0, 0),
        header_style="cyan",
    )
    for key in keys:
        numeric = all(isinstance(row.get(key), (int, float, type(None))) for row in rows)
        short = widths[key] <= SHORT  # the others give way on a narrow terminal
        table.add_column(
            Text(visible(str(key))), justify="right" if numeric else "left", overflow="fold", no_wrap=short
        )
    for place in range(len(rows)):
        table.add_row(*(Text(cells[key][place]) for key in keys))
    if console.is_terminal:
        console.print(table)
        return
    with console.capture() as captured:
        console.print(table)
    for line in captured.get().splitlines():
        console.file.write(line.rstrip() + "\n")
