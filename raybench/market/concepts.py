"""Concepts: which instruments belong together (an industry, an index, a theme), and when.

A table of S spans (instrument, concept, start, end); both ends belong to a span, an end at midnight stands for
that whole day, and an empty one keeps the span open. An instrument may be in many concepts at once. On a date
only the spans that hold on it count: nothing later is seen, as long as a span starts when it became known.

Shapes: K concepts, N instruments, T dates, P most spans of one instrument, B samples. Membership is 1.0 or 0.0;
an instrument or a date that the table does not know has zeros.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from torch import Tensor

from raybench.columns import typed
from raybench.columns.moments import Moment, last_moments, moment
from raybench.columns.types import Moments
from raybench.errors import DataError
from raybench.market.universe import FOREVER
from raybench.reports.text import numbered
from raybench.storage import csv_tables, files, parquet
from raybench.storage.arrays import Arrays, as_array, as_tensor

COLUMNS = ("instrument", "concept", "start", "end")
PARQUET = (".parquet", ".pq")
TENSORS = ("concept_NP", "first_NP", "stop_NP")

Int64 = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Concepts:
    """Every span of a concept table, sorted.

    Parameters
    ----------
    uri : where it was read
    names : the K concepts, sorted
    instruments : those that have a span, sorted
    instrument_S, concept_S : codes into ``instruments`` and ``names``
    start_S, last_S : first and last moment of each span, datetime64[us]
    """

    uri: str
    names: tuple[str, ...]
    instruments: tuple[str, ...]
    instrument_S: Int64
    concept_S: Int64
    start_S: Moments
    last_S: Moments

    @property
    def fingerprint(self) -> str:
        """Hash of the spans, wherever they lie and however they were ordered."""
        digest = hashlib.sha256(json.dumps([self.names, self.instruments]).encode())
        for array in (self.instrument_S, self.concept_S, self.start_S, self.last_S):
            digest.update(array.tobytes())
        return digest.hexdigest()[:32]

    def members(self, instruments: Sequence[str], when: Moment) -> NDArray[np.float32]:
        """Say who is in which concept at one moment -> [N, K]."""
        at = moment(when)
        assert at is not None
        code_S = _codes(self.instruments, instruments)[self.instrument_S]
        here_S = (code_S >= 0) & (self.start_S <= at) & (at <= self.last_S)
        member_NK = np.zeros((len(instruments), len(self.names)), np.float32)
        member_NK[code_S[here_S], self.concept_S[here_S]] = 1.0
        return member_NK

    def memberships(self, instruments: Sequence[str], dates: Moments) -> Memberships:
        """Put the spans in terms of a panel's instruments [N] and dates [T], for look-ups of many samples.

        Raises DataError if the table has none of the instruments: they must be spelt differently.
        """
        code_S = _codes(self.instruments, instruments)[self.instrument_S]
        if not (code_S >= 0).any():
            raise DataError(
                f"data.concepts: {self.uri}: has none of the "
                f"{numbered(len(instruments), 'instrument|instruments')} to be looked up; "
                f"they are written as {instruments[0]}, in the table as {self.instruments[0]}"
            )
        first_S = np.searchsorted(dates, self.start_S)
        stop_S = np.searchsorted(dates, self.last_S, side="right")
        kept_S = (code_S >= 0) & (first_S < stop_S)
        spans = _joined(code_S[kept_S], self.concept_S[kept_S], first_S[kept_S], stop_S[kept_S], len(dates))
        return _padded(*spans, num_instruments=len(instruments), num_concepts=len(self.names))


@dataclass(frozen=True, slots=True, kw_only=True)
class Memberships:
    """Spans of a panel's instruments by its date codes, padded with spans that never hold [N, P].

    A span holds on the dates ``first`` <= code < ``stop``; an instrument's spans of one concept do not overlap.
    """

    concept_NP: Tensor
    first_NP: Tensor
    stop_NP: Tensor
    num_concepts: int

    @property
    def nbytes(self) -> int:
        """Bytes of the tensors."""
        return sum(int(getattr(self, name).nbytes) for name in TENSORS)

    @property
    def ever(self) -> bool:
        """Whether any span holds on any date."""
        return bool((self.first_NP < self.stop_NP).any())

    def rows(self, instrument_B: Tensor, date_B: Tensor) -> Tensor:
        """Look up samples by their instrument and date codes (on the device of the table) -> float32 [B, K]."""
        code_B, date_B1 = instrument_B.long(), date_B[:, None]
        holds_BP = (self.first_NP[code_B] <= date_B1) & (date_B1 < self.stop_NP[code_B])
        member_BK = torch.zeros(len(code_B), self.num_concepts, device=self.concept_NP.device)
        # at most one span of a concept holds: sums of 0s and one 1 are the same in any order
        return member_BK.scatter_add_(1, self.concept_NP[code_B], holds_BP.float())

    def to(self, device: torch.device | str) -> Memberships:
        """Move it to a device."""
        tensors = {name: getattr(self, name).to(device) for name in TENSORS}
        return Memberships(**tensors, num_concepts=self.num_concepts)

    def arrays(self) -> Arrays:
        """The arrays by name, sharing memory with the tensors where those are on the CPU."""
        named = {name: as_array(getattr(self, name)) for name in TENSORS}
        return {**named, "num_concepts": np.array(self.num_concepts)}

    @classmethod
    def from_arrays(cls, arrays: Arrays) -> Memberships:
        """Put it together over arrays that may be read-only; nothing is copied."""
        tensors = {name: as_tensor(arrays[name]) for name in TENSORS}
        return cls(**tensors, num_concepts=int(arrays["num_concepts"]))


def open_concepts(uri: files.Uri) -> Concepts:
    """Read a concept table: a CSV file, a Parquet file or a folder of those.

    Raises DataError for what is missing or cannot be read, with the row.
    """
    try:
        place = files.open_location(uri).uri
        parts = list(_parts(place))
        if not sum(len(part[0]) for part in parts):
            raise DataError(f"{place}: has no rows; want instrument, concept, start, end")
        instruments, concepts, starts, lasts = zip(*parts, strict=True)
        return _sorted(
            place,
            pa.chunked_array(instruments),
            pa.chunked_array(concepts),
            np.concatenate(starts),
            np.concatenate(lasts),
        )
    except DataError as error:
        raise DataError(f"data.concepts: {error}") from None


Part = tuple[Any, Any, Moments, Moments]  # instrument and concept are Arrow's text


def _parts(place: str) -> Iterator[Part]:
    if place.endswith(csv_tables.SUFFIXES):
        _check_columns(place, csv_tables.header(place))
        for first_row, batch in csv_tables.pieces(place, COLUMNS):
            yield _part(batch, place, first_row)
        return
    if not place.endswith(PARQUET) and not files.is_folder(place):
        wanted = ", ".join((*PARQUET, *csv_tables.SUFFIXES))
        raise DataError(f"{place}: is no table of concepts; want a file that ends in {wanted}, or a folder of Parquet")
    for file in parquet.parquet_files(place):
        _check_columns(file, parquet.read_schema(file).names)
        yield _part(parquet.read_table(file, COLUMNS), file)


def _check_columns(file: str, names: Sequence[str]) -> None:
    missing = [name for name in COLUMNS if name not in names]
    if missing:
        raise DataError(f"{file}: has no column {missing[0]}; want {', '.join(COLUMNS)}, it has {', '.join(names)}")


def _part(table: Any, file: str, first_row: int = 0) -> Part:
    """Rows as arrays, each span checked."""
    instrument_R, concept_R = (
        typed.names(table.column(name), name=name, where=file, first_row=first_row) for name in COLUMNS[:2]
    )
    start_R = typed.datetimes(table.column("start"), where=file, first_row=first_row, name="start")
    end_R = typed.ends(table.column("end"), where=file, first_row=first_row)
    end_R = np.where(np.isnat(end_R), FOREVER, end_R)
    last_R = last_moments(end_R)
    for row in np.flatnonzero(start_R > last_R)[:1]:
        raise DataError(
            f"{file}: row {first_row + row + 1}: {instrument_R[row]} in {concept_R[row]} starts {start_R[row]}, "
            f"ends {end_R[row]}; want a start that is not after the end"
        )
    return instrument_R, concept_R, start_R, last_R


def _sorted(uri: str, instrument_R: Any, concept_R: Any, start_R: Moments, last_R: Moments) -> Concepts:
    instruments, instrument_S = _numbered(instrument_R)
    names, concept_S = _numbered(concept_R)
    order = np.lexsort((last_R, start_R, concept_S, instrument_S))
    return Concepts(
        uri=uri,
        names=names,
        instruments=instruments,
        instrument_S=instrument_S[order],
        concept_S=concept_S[order],
        start_S=start_R[order],
        last_S=last_R[order],
    )


def _numbered(texts: Any) -> tuple[tuple[str, ...], Int64]:
    """Each text that occurs, sorted, and which of them each row has."""
    encoded = texts.combine_chunks().dictionary_encode()
    found = encoded.dictionary.to_pylist()
    names = sorted(found)
    return tuple(names), _codes(found, names)[encoded.indices.to_numpy()]


def _codes(names: Sequence[str], wanted: Sequence[str]) -> Int64:
    """Where each of ``names`` is among ``wanted``, -1 where it is not."""
    code_of = {name: code for code, name in enumerate(wanted)}
    return np.array([code_of.get(name, -1) for name in names], np.int64)


def _joined(
    code_S: Int64, concept_S: Int64, first_S: Int64, stop_S: Int64, num_dates: int
) -> tuple[Int64, Int64, Int64, Int64]:
    """Join spans of one instrument and concept that overlap or touch, so that at most one holds on a date."""
    order = np.lexsort((first_S, concept_S, code_S))
    code_S, concept_S, first_S, stop_S = (array[order] for array in (code_S, concept_S, first_S, stop_S))
    same_S = (np.diff(code_S, prepend=-1) == 0) & (np.diff(concept_S, prepend=-1) == 0)
    # how far the spans so far reach: those of a later pair are lifted above all of an earlier one
    lift_S = np.cumsum(~same_S) * (num_dates + 1)
    reach_S = np.maximum.accumulate(stop_S + lift_S) - lift_S
    begins_S = ~same_S
    begins_S[1:] |= first_S[1:] > reach_S[:-1]
    begin = np.flatnonzero(begins_S)
    return code_S[begin], concept_S[begin], first_S[begin], reach_S[np.append(begin[1:], len(code_S))[: len(begin)] - 1]


def _padded(
    code_S: Int64, concept_S: Int64, first_S: Int64, stop_S: Int64, *, num_instruments: int, num_concepts: int
) -> Memberships:
    """Lay the spans of each instrument out in a row [N, P]."""
    count_N = np.bincount(code_S, minlength=num_instruments)
    place_S = np.arange(len(code_S)) - np.repeat(np.cumsum(count_N) - count_N, count_N)
    laid_out = []
    for value_S, dtype in ((concept_S, np.int64), (first_S, np.int32), (stop_S, np.int32)):
        value_NP = np.zeros((num_instruments, count_N.max(initial=0)), dtype)
        value_NP[code_S, place_S] = value_S
        laid_out.append(torch.from_numpy(value_NP))
    concept_NP, first_NP, stop_NP = laid_out
    return Memberships(concept_NP=concept_NP, first_NP=first_NP, stop_NP=stop_NP, num_concepts=num_concepts)
