"""What the path of a file says of its rows beside their columns: the date of all of them, and whether both agree.

date=2019-01-02/part-0.parquet   the value of a folder `key=value`, as pandas, DuckDB and Spark write them
20190102.csv                     a name that is a date, of a file whose rows say their instrument

A folder that names an instrument or a date which no row of its file has is an error: one of the two is wrong.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from raybench.columns import typed
from raybench.columns.types import Moments
from raybench.errors import DataError
from raybench.market.quality import clock
from raybench.market.sources.file_names import partitions, stem

DATE_KEYS = frozenset({"datetime", "date", "trade_date", "tradedate", "dt", "day", "ds", "yyyymmdd"})
"""What a folder of one date is called, in lower case."""

_DAY = re.compile(r"((?:19|20)\d\d)([-_.]?)(0[1-9]|1[0-2])\2(0[1-9]|[12]\d|3[01])")
_LONGER = re.compile(r"(?:19|20)\d\d[-/.]?\d\d?[-/.]?\d\d?(?:[ T].*)?")  # not the 2 of day=2


def date_of(root: str, file: str, suffixes: Sequence[str]) -> str | None:
    """The date that the path of a file gives to its rows, as text; None where it gives none."""
    folders = [value for key, value in partitions(root, file).items() if key.lower() in DATE_KEYS]
    written = [value.strip() for value in folders if _LONGER.fullmatch(value.strip())]
    if written:
        return written[-1]
    name = _DAY.fullmatch(stem(file, suffixes))
    return None if name is None else "-".join((name[1], name[3], name[4]))


class PathSays:
    """What the folders `key=value` above a file say of its rows, held against the columns batch by batch.

    ``keys``: of the folders that name an instrument, in lower case. Only what no row agrees with is an error, so a
    file is known when it has been read to its end.
    """

    def __init__(self, root: str, file: str, keys: Collection[str], ignored: Collection[str]) -> None:
        pairs = [(k, v.strip()) for k, v in partitions(root, file).items() if k.lower() not in ignored]
        self._file = file
        self._name = next((pair for pair in reversed(pairs) if pair[0].lower() in keys), None)
        dates = [pair for pair in pairs if pair[0].lower() in DATE_KEYS and _LONGER.fullmatch(pair[1])]
        self._date = dates[-1] if dates else None
        self._other: dict[str, str] = {}  # folder -> what the rows say, while none agrees
        self._agrees: set[str] = set()

    def hear(self, instrument_R: Any, datetime_R: Moments) -> None:
        """Take the instruments and datetimes that the columns of a batch say."""
        if not len(datetime_R):
            return
        if self._name is not None:
            key, wanted = self._name
            agrees = any(_alike(name, wanted) for name in pc.unique(instrument_R).to_pylist())
            self._note(f"{key}={wanted}", agrees, f"instrument {instrument_R[0].as_py()}")
        if self._date is not None:
            key, wanted = self._date
            day = typed.datetimes(pa.array([wanted]), where=self._file, name=key)[0].astype("datetime64[D]")
            # a zone may put a day's moments on its neighbours
            agrees = bool((np.abs(datetime_R.astype("datetime64[D]") - day) <= np.timedelta64(1, "D")).any())
            self._note(f"{key}={wanted}", agrees, f"datetime {clock(datetime_R[0])}")

    def _note(self, folder: str, agrees: bool, said: str) -> None:
        if agrees:
            self._agrees.add(folder)
        else:
            self._other.setdefault(folder, said)

    def check(self) -> None:
        """DataError where no row agrees with a folder."""
        for folder, said in self._other.items():
            if folder not in self._agrees:
                key = folder.partition("=")[0]
                raise DataError(
                    f"{self._file}: lies in the folder {folder}, and its rows say {said}; mend the one that is wrong "
                    f"(--columns {key}= leaves the folder out)"
                )


def _alike(name: str, other: str) -> bool:
    """Whether one is the other with or without its exchange: 600000, SH600000, 600000.sh."""
    parts, others = (set(re.findall(r"[^\W\d_]+|\d+", text.lower())) for text in (name, other))
    return name == other or (bool(parts and others) and (parts <= others or others <= parts))
