"""Which instrument a file of a table holds whose rows do not say: by its path below the source.

instrument=600000.SH/part-0.parquet   the value of a folder `key=value`, as pandas, DuckDB and Spark write them
600000.SH.csv                         the name without what the format puts at its end, dots and all
600000.SH/2019.csv                    the folder, where files are named after years or dates
2019/600000.SH.csv                    the name, where folders are: the files of one name are one instrument

Where that would make one instrument of two, or several of one, it is an error.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from urllib.parse import unquote

import numpy as np

from raybench.errors import DataError
from raybench.storage import files as storage

INSTRUMENT_LIKE = frozenset(
    {"instrument", "symbol", "ticker", "code", "stock", "asset", "security", "name", "secid", "ts_code"}
)
"""What others call it, in lower case: a folder `symbol=X` names one."""

_TIMES = {"year", "quarter", "month", "week", "day", "date", "trade_date", "dt", "ym", "yyyymm", "yyyymmdd", "hour"}
_PERIOD = re.compile(r"(19|20)\d\d([-_.]?(0[1-9]|1[0-2])([-_.]?(0[1-9]|[12]\d|3[01]))?)?")
_WRITERS = re.compile(
    r"(part|data|chunk|file|block)[-_.]?\d.*|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}.*|[0-9a-f]{32}.*", re.IGNORECASE
)
_PART = re.compile(
    rf"(?:(?P<of>.+?)[-_. ])?(?P<period>{_PERIOD.pattern})"
    rf"(?:(?:[-_. ~]+|[-_. ]?to[-_. ]?)(?P<until>{_PERIOD.pattern}))?"
)
_COPY = re.compile(r"(?P<of>.+?)( ?\(\d+\)| - copy( ?\(\d+\))?| copy( \d+)?|~|\.bak|\.orig|_bak|_copy)", re.IGNORECASE)
_NO_VALUE = "__HIVE_DEFAULT_PARTITION__"


def partitions(root: str, file: str) -> dict[str, str]:
    """The folders `key=value` on the way from ``root``, itself included, to ``file``; the innermost of a key counts."""
    below = file.removeprefix(root).strip("/") if file != root else ""
    folders = [storage.name_of(root), *below.split("/")[:-1]]
    pairs = (folder.partition("=") for folder in folders)
    return {unquote(key): unquote(value) for key, found, value in pairs if found and key}


def instruments_of(
    root: str,
    files: Sequence[str],
    suffixes: Sequence[str],
    *,
    keys: Collection[str] = INSTRUMENT_LIKE,
    ignored: Collection[str] = (),
) -> dict[str, str]:
    """The instrument of each file, none of which has a column for it.

    ``keys``: of the folders that name one, in lower case; ``ignored``: of those that say nothing. DataError where a
    name tells nothing, or two files that are no parts of one thing have the same.
    """
    found: dict[str, str] = {}
    plain: list[str] = []
    for file in files:
        values = [value.strip() for key, value in partitions(root, file).items() if key.lower() in keys]
        if not values:
            plain.append(file)
        elif values[-1] in ("", _NO_VALUE):
            raise DataError(f"{file}: lies in a folder for rows without an instrument; name it, or take the folder out")
        else:
            found[file] = values[-1]
    _refuse_blanks(root, found, keys)
    found |= _by_names(root, plain, suffixes)
    _refuse_apart(root, found, {*keys, *ignored} | _TIMES)
    return found


def refuse_pieces(names: Mapping[str, str], extent: Callable[[str], tuple[np.datetime64, np.datetime64]]) -> None:
    """DataError where files are named after the years or dates that they hold, and so are pieces of an instrument.

    ``names``: file -> instrument. ``extent``: the first and the last moment of an instrument. A code such as 2020 that
    has rows of other years is an instrument.
    """
    pieces: dict[str, dict[str, bool]] = defaultdict(dict)
    for file, name in names.items():
        part = _PART.fullmatch(name)
        if part:
            until = part["until"] or part["period"]
            pieces[part["of"] or ""][file] = _within(part["period"], until, *extent(name))
    for of, files in pieces.items():
        if len(files) > 1 and all(files.values()):
            first, second, *_ = sorted(files)
            raise DataError(
                f"{first}, {storage.name_of(second)}: hold the rows of the dates they are named after, so they look "
                f"like pieces of one instrument; name a folder after it ({of or 'INSTRUMENT'}/2020.csv) and import "
                "the folder above, or give them a column instrument"
            )


def _within(since: str, until: str, first: np.datetime64, last: np.datetime64) -> bool:
    """Whether rows from ``first`` to ``last`` lie in the years, months or days that a name tells."""
    begin, end = _period(since), _period(until)
    return bool(begin <= first.astype(begin.dtype) and last.astype(end.dtype) <= end)


def _period(written: str) -> np.datetime64:
    digits = re.sub(r"\D", "", written)
    return np.datetime64("-".join(filter(None, (digits[:4], digits[4:6], digits[6:]))))


def _by_names(root: str, files: Sequence[str], suffixes: Sequence[str]) -> dict[str, str]:
    stems = {file: stem(file, suffixes) for file in files}
    folders = {file: _folder(root, file) for file in files}
    inside = [file for file in files if folders[file]]
    of_periods = bool(inside) and all(_PERIOD.fullmatch(stems[file]) for file in inside)
    in_periods = bool(inside) and all(_PERIOD.fullmatch(folders[file].rpartition("/")[2]) for file in inside)
    if of_periods and in_periods:
        raise DataError(
            f"{inside[0]}: its name and that of its folder both look like a date; "
            "which is the instrument? give the files a column instrument"
        )
    names = {f: folders[f].rpartition("/")[2].strip() if of_periods and folders[f] else stems[f] for f in files}
    parts = {f: folders[f] if of_periods or in_periods or _only_keys(folders[f]) else "" for f in files}
    for file, name in names.items():
        if _WRITERS.fullmatch(name):
            raise DataError(
                f"{file}: has no column instrument and is not named after one; "
                "say which column it is with --columns theirs=instrument, or name files or folders after instruments"
            )
    _refuse_doubles(names, parts, of_periods=of_periods)
    _refuse_copies(names)
    return names


def _refuse_copies(names: Mapping[str, str]) -> None:
    """A file that a desktop named as the copy of another is no instrument of its own."""
    of_name = {name: file for file, name in names.items()}
    for name, file in of_name.items():
        copy = _COPY.fullmatch(name)
        if copy and copy["of"] in of_name:
            of = of_name[copy["of"]]
            raise DataError(f"{file}: looks like a copy of {of}; take it out of the folder, or rename it")


def _refuse_doubles(names: Mapping[str, str], parts: Mapping[str, str], *, of_periods: bool) -> None:
    """Two files of one name are parts of one instrument in folders of dates, and otherwise nobody knows."""
    first: dict[tuple[str, str], str] = {}
    for file, name in names.items():
        key = (name, file if of_periods else parts[file])
        other = first.setdefault(key, file)
        if other != file:
            raise DataError(f"{other} and {file}: are both the instrument {name} by their names; want one, or a column")


def _refuse_apart(root: str, names: Mapping[str, str], known: Collection[str]) -> None:
    """Two files of one name in folders that differ, such as `exchange=SH` and `exchange=SZ`, are no parts of one."""
    first: dict[str, tuple[str, dict[str, str]]] = {}
    for file, name in names.items():
        values = {key: value for key, value in partitions(root, file).items() if key.lower() not in known}
        other, theirs = first.setdefault(name, (file, values))
        differing = sorted(key for key in {*values, *theirs} if values.get(key) != theirs.get(key))
        if differing:
            raise DataError(
                f"{other} and {file}: are both the instrument {name}, and differ in {differing[0]}=; want one, or "
                f"names that tell them apart; if they are parts of one, say so with --columns {differing[0]}="
            )


def _refuse_blanks(root: str, names: Mapping[str, str], keys: Collection[str]) -> None:
    """Two folders whose names differ in blanks only, such as `symbol=A` and `symbol=A%20`, name one instrument."""
    first: dict[str, tuple[str, str]] = {}
    for file, name in names.items():
        raw = [value for key, value in partitions(root, file).items() if key.lower() in keys][-1]
        other, theirs = first.setdefault(name, (file, raw))
        if theirs != raw:
            raise DataError(f"{other} and {file}: are both the instrument {name} but for blanks; want one")


def _only_keys(folder: str) -> bool:
    """Whether a file lies in folders `key=value`, which cut a table into parts."""
    return bool(folder) and all("=" in part for part in folder.split("/"))


def _folder(root: str, file: str) -> str:
    """The folders between the source and a file."""
    return file.removeprefix(root).strip("/").rpartition("/")[0] if file != root else ""


def stem(file: str, suffixes: Sequence[str]) -> str:
    """The name of a file without what the format puts at its end, and without blanks around it."""
    name = storage.name_of(file)
    endings = [suffix for suffix in suffixes if name.lower().endswith(suffix)]
    return (name[: -len(max(endings, key=len))] if endings else name.partition(".")[0]).strip()
