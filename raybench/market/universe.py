"""Universes: which instruments are members, and when.

A universe is a list of K spans (instrument, start, end); both ends belong to the span. An end at midnight
stands for that whole day, so that a date written in a file means the same for daily and intraday bars.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from raybench.columns import moments
from raybench.columns.types import Moments
from raybench.errors import DataError

if TYPE_CHECKING:  # half a second that scoring a date does without
    import pandas as pd

ALL = "all"
ALWAYS = np.datetime64("1900-01-01", "us")  # the start of a member of whom no dates are known
FOREVER = np.datetime64("9999-12-31", "us")  # the end of a span that is still open
_NAME = re.compile(r"\w[\w.+-]*")  # it becomes a file name


@dataclass(frozen=True, slots=True, kw_only=True)
class Universe:
    """Membership spans, sorted by (instrument, start).

    Parameters
    ----------
    name : what commands and configs call it
    instrument_K : the member of each span
    start_K, end_K : datetime64[us], inclusive; ``end_K`` as given, see ``last_K`` for what it means
    """

    name: str
    instrument_K: tuple[str, ...]
    start_K: Moments
    end_K: Moments

    @property
    def instruments(self) -> tuple[str, ...]:
        """Every instrument that is ever a member, sorted."""
        return tuple(sorted(set(self.instrument_K)))

    @property
    def dated(self) -> bool:
        """Whether any span has a start or an end; a list of names has none."""
        return bool((self.start_K != ALWAYS).any() or (self.end_K != FOREVER).any())

    @property
    def last_K(self) -> Moments:
        """The last moment of each span."""
        return moments.last_moments(self.end_K)

    def contains(self, instrument: str, datetime_R: Moments) -> NDArray[np.bool_]:
        """Whether ``instrument`` is a member at each moment -> [R]."""
        mask_R = np.zeros(len(datetime_R), dtype=bool)
        last_K = self.last_K
        for k in [k for k, name in enumerate(self.instrument_K) if name == instrument]:
            mask_R |= (datetime_R >= self.start_K[k]) & (datetime_R <= last_K[k])
        return mask_R

    def mask(
        self, instruments: Sequence[str], code_R: NDArray[np.integer[Any]], datetime_R: Moments
    ) -> NDArray[np.bool_]:
        """Whether ``instruments[code]`` is a member at each row's moment -> [R]; rows in any order."""
        sorted_R = np.arange(len(code_R))
        if len(code_R) > 1 and np.any(code_R[1:] < code_R[:-1]):
            sorted_R = np.argsort(code_R, kind="stable")
        edge_N1 = np.searchsorted(code_R[sorted_R], np.arange(len(instruments) + 1))
        code_of = {name: code for code, name in enumerate(instruments)}
        mask_R = np.zeros(len(code_R), dtype=bool)
        last_K = self.last_K
        for k, name in enumerate(self.instrument_K):
            code = code_of.get(name)
            if code is None:
                continue
            rows = sorted_R[edge_N1[code] : edge_N1[code + 1]]
            mask_R[rows] |= (datetime_R[rows] >= self.start_K[k]) & (datetime_R[rows] <= last_K[k])
        return mask_R

    def keep(self, instruments: Sequence[str]) -> Universe:
        """The spans of these instruments only."""
        wanted = set(instruments)
        kept = np.array([name in wanted for name in self.instrument_K], dtype=bool)
        names = tuple(name for name in self.instrument_K if name in wanted)
        return Universe(name=self.name, instrument_K=names, start_K=self.start_K[kept], end_K=self.end_K[kept])

    def to_frame(self) -> pd.DataFrame:
        """The spans as a table ``instrument, start, end``; the end of an open span is NaT."""
        import pandas as pd

        end_K = np.where(self.end_K == FOREVER, np.datetime64("NaT", "us"), self.end_K)
        return pd.DataFrame({"instrument": list(self.instrument_K), "start": self.start_K, "end": end_K})


def make_universe(name: str, instrument_K: Sequence[str], start_K: Moments, end_K: Moments, *, where: str) -> Universe:
    """Checked and sorted spans; NaT as an end keeps the span open. ``where`` names their origin in errors."""
    if not _NAME.fullmatch(name):
        raise DataError(f"{where}: {name!r} cannot name a universe; want letters, digits and _ . + -")
    if len(instrument_K) == 0:
        raise DataError(f"{where}: universe {name} is empty; want rows of instrument, start, end")
    start_K = np.asarray(start_K).astype("datetime64[us]")
    end_K = np.asarray(end_K).astype("datetime64[us]")
    end_K = np.where(np.isnat(end_K), FOREVER, end_K)
    for k in np.flatnonzero(np.isnat(start_K) | (start_K > end_K))[:1]:
        raise DataError(
            f"{where}: universe {name}, row {k + 1}: {instrument_K[k]} starts {start_K[k]}, ends {end_K[k]}; "
            "want a start that is not after the end"
        )
    order = sorted(range(len(instrument_K)), key=lambda k: (instrument_K[k], start_K[k], end_K[k]))
    names = tuple(str(instrument_K[k]) for k in order)
    return Universe(name=name, instrument_K=names, start_K=start_K[order], end_K=end_K[order])


def universe_of_frame(name: str, spans: pd.DataFrame, *, where: str = "the table given") -> Universe:
    """A universe from a table with the columns ``instrument, start, end``."""
    missing = [c for c in ("instrument", "start", "end") if c not in spans.columns]
    if missing:
        raise DataError(f"{where}: universe {name} has no column {missing[0]}; want instrument, start, end")
    return make_universe(
        name,
        moments.names(spans["instrument"], where=where).to_pylist(),
        moments.datetimes(spans["start"], where=where, name="start"),
        moments.ends(spans["end"], where=where),
        where=where,
    )


def universe_of_bars(ranges: Mapping[str, tuple[np.datetime64, np.datetime64]]) -> Universe:
    """The universe ``all``: each instrument from its first bar to its last."""
    instruments = sorted(ranges)
    start_K = np.array([ranges[i][0] for i in instruments], dtype="datetime64[us]")
    end_K = np.array([ranges[i][1] for i in instruments], dtype="datetime64[us]")
    return make_universe(ALL, instruments, start_K, end_K, where="bars")
