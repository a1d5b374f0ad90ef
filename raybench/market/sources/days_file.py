"""A file of dates, one a line, such as an exchange's calendar or the ``calendars/day.txt`` of a Qlib provider.

Of lines with several columns the first counts; a first line without a digit is a header.
"""

from __future__ import annotations

import re

import numpy as np
from numpy.typing import NDArray

from raybench.columns.typed import datetimes
from raybench.errors import DataError
from raybench.storage import files


def read_days(uri: files.Uri) -> NDArray[np.datetime64]:
    """The dates of a file -> datetime64[D], sorted, each once."""
    file = files.open_location(uri).uri
    try:
        lines = files.read_bytes(file).decode("utf-8-sig").splitlines()
    except UnicodeDecodeError:
        raise DataError(f"{file}: is not text (--calendar); want one date a line") from None
    cells = [re.split(r"[,;\t]", line)[0].strip().strip('"') for line in lines]
    if cells and not re.search(r"\d", cells[0]):
        cells = cells[1:]
    cells = [cell for cell in cells if cell]
    if not cells:
        raise DataError(f"{file}: has no date (--calendar); want one date a line")
    days: NDArray[np.datetime64] = np.unique(datetimes(cells, where=file, row="date").astype("datetime64[D]"))
    return days
