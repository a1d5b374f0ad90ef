"""A hash of exactly the rows that the scores of a day are made from, by instrument, so that it can be told later
whether they are still those.

R rows, N instruments, D days, T calendar entries, K pairs of a day and an instrument. Sums are modulo 2**64. The hash
of an instrument's rows up to a day depends on these rows alone: not on what else was read, nor on how it was cut.

NaN rule: every NaN is the same, and a field that the bars do not have is NaN in every row; -0.0 is 0.0.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from raybench.columns.types import Moments
from raybench.errors import DataError
from raybench.market.bars import BarBlock
from raybench.market.concepts import Concepts
from raybench.panel.presence import Days
from raybench.processors.by_date import Float32

Hashes = NDArray[np.uint64]
Places = NDArray[np.int64]
Mask = NDArray[np.bool_]

BARS, FEATURES, SECOND, CONCEPTS = "bars", "features", "second", "concepts"
SOURCES = (BARS, FEATURES, SECOND, CONCEPTS)

TICK = np.timedelta64(1, "us")
_BASE = 0x9E3779B97F4A7C15 | 1  # odd, so that it has an inverse modulo 2**64
_INVERSE = pow(_BASE, -1, 2**64)
_MEMBER = np.uint64(0xD1342543DE82EF95)
_NAN = np.float32(np.nan).view(np.uint32)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reads:
    """What the scores of a day read of one source, wherever that lies.

    source: bars, features, the second window's bars, or concepts. window: entries of the calendar up to the day's,
    of which the rows of members count; 0: all. lookback: rows before each of those, that its features are made from.
    compared: whether the values of an instrument depend on who else is there. lag_minutes: see ``panel.second``.
    """

    source: str
    universe: str = ""
    fields: tuple[str, ...] = ()
    window: int = 1
    lookback: int = 0
    compared: bool = False
    lag_minutes: int | None = None

    def to_json(self) -> dict[str, Any]:
        """Write it as a footer has it."""
        said = {
            "source": self.source,
            "universe": self.universe,
            "fields": list(self.fields),
            "window": self.window,
            "lookback": self.lookback,
            "compared": self.compared,
            "lag_minutes": self.lag_minutes,
        }
        return {name: value for name, value in said.items() if value is not None}

    @classmethod
    def of_json(cls, said: Mapping[str, Any], *, where: str) -> Reads:
        """Read what ``to_json`` wrote; DataError if it is something else."""
        try:
            if said["source"] not in SOURCES:
                raise ValueError(f"source {said['source']!r}")
            lag = said.get("lag_minutes")
            return cls(
                source=str(said["source"]),
                universe=str(said["universe"]),
                fields=tuple(map(str, said["fields"])),
                window=int(said["window"]),
                lookback=int(said["lookback"]),
                compared=bool(said["compared"]),
                lag_minutes=None if lag is None else int(lag),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(f"{where}: what its scores were made from cannot be read ({error}); score again") from None


@dataclass(frozen=True, slots=True, kw_only=True)
class RowHashes:
    """The hash of the rows of each instrument for each day, sorted by day and instrument.

    ``days`` [D] and ``instruments`` [N] are ascending, ``day_K`` and ``code_K`` codes of them. ``scored_K``: whether
    there is a row of the day itself; others count because those that have one are compared with them.
    """

    reads: Reads
    days: Days
    instruments: tuple[str, ...]
    day_K: NDArray[np.int32]
    code_K: NDArray[np.int32]
    hash_K: Hashes
    scored_K: Mask

    def of(self, day: np.datetime64) -> tuple[list[str], Hashes, Mask]:
        """Who counts on a day, by name; the hash of the rows of each, and whether it has a row on the day itself."""
        at = int(np.searchsorted(self.days, day))
        known = at < len(self.days) and self.days[at] == day
        first, last = np.searchsorted(self.day_K, [at, at + 1]) if known else (0, 0)
        names = [self.instruments[code] for code in self.code_K[first:last].tolist()]
        return names, self.hash_K[first:last], self.scored_K[first:last]


@dataclass(frozen=True, slots=True, kw_only=True)
class Hashing:
    """Which rows are to be hashed: for each of ``days`` those whose stamp lies at ``first_D`` to ``last_D`` of the
    ``calendar``, and what ``reads`` says before.
    """

    reads: Reads
    days: Days
    calendar: Moments
    first_D: Places
    last_D: Places

    @classmethod
    def of(cls, reads: Reads, days: Days, calendar: Moments, known: Moments | None = None) -> Hashing:
        """Plan it for days that ``calendar`` has; ``known``: when its entries are known, if not at their stamp.

        With ``known`` a day reads what is known by its end.
        """
        ends = (days + 1).astype("datetime64[us]")
        stamps = calendar if known is None else known
        last_D = np.searchsorted(stamps, ends, side="left") - 1
        first_D = np.searchsorted(stamps, days.astype("datetime64[us]")) if known is None else last_D
        kept = (last_D >= 0) & (first_D <= last_D)
        begin = 0
        if reads.window and kept.any():
            begin = max(int(first_D[kept].min()) - reads.window + 1 - reads.lookback, 0)
        stop = int(last_D[kept].max()) + 1 if kept.any() else 0
        return cls(
            reads=reads,
            days=days[kept],
            calendar=calendar[begin:stop],
            first_D=(first_D[kept] - begin).astype(np.int64),
            last_D=(last_D[kept] - begin).astype(np.int64),
        )

    def block(self, block: BarBlock, member_R: Mask) -> RowHashes:
        """Hash rows of whole instruments, in the order of time; ``member_R``: those of the universe."""
        inside_R = self._inside(block.datetime_R)
        datetime_R, code_R, member_R = block.datetime_R[inside_R], block.code_R[inside_R], member_R[inside_R]
        at_R = np.searchsorted(self.calendar, datetime_R)
        columns = [_values(block.fields.get(name), inside_R) for name in self.reads.fields]
        sums = _Sums.of(_row_hashes(datetime_R, columns), member_R, code_R, at_R, len(self.calendar))
        first_D = np.maximum(self.first_D - self.reads.window + 1, 0) if self.reads.window else 0 * self.first_D
        return sums.hashes(self, block.instruments, first_D)

    def _inside(self, datetime_R: Moments) -> Mask:
        if not len(self.calendar):
            return np.zeros(len(datetime_R), bool)
        inside_R: Mask = (datetime_R >= self.calendar[0]) & (datetime_R <= self.calendar[-1])
        return inside_R


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sums:
    """Sums over all rows so far, each row's hash times a power that says where it lies; R1 = R + 1.

    A difference of two, times the power of the newest place, is a polynomial in the distance from there.
    """

    key_R: Places
    at_R: Places
    rows_R1: Hashes
    members_R1: Hashes
    next_R1: Places
    power_T: Hashes
    entries: int

    @classmethod
    def of(cls, hash_R: Hashes, member_R: Mask, code_R: NDArray[np.int32], at_R: Places, entries: int) -> _Sums:
        there_R = np.arange(len(hash_R))
        next_R = np.minimum.accumulate(np.where(member_R, there_R, len(hash_R))[::-1])[::-1]
        weight_R = _powers(_INVERSE, entries)[at_R]
        return cls(
            key_R=code_R.astype(np.int64) * entries + at_R,
            at_R=at_R,
            rows_R1=_running(hash_R * weight_R),
            members_R1=_running(np.where(member_R, _MEMBER, np.uint64(0)) * weight_R),
            next_R1=np.append(next_R, len(hash_R)),
            power_T=_powers(_BASE, entries),
            entries=entries,
        )

    def hashes(self, plan: Hashing, instruments: tuple[str, ...], first_D: Places) -> RowHashes:
        """Take the sum of each day and instrument that counts."""
        base_N1 = np.arange(len(instruments))[:, None] * self.entries
        stop_DN = np.searchsorted(self.key_R, (base_N1 + plan.last_D).T, side="right")
        member_DN = self.next_R1[np.searchsorted(self.key_R, (base_N1 + first_D).T)]
        scored_DN = self.next_R1[np.searchsorted(self.key_R, (base_N1 + plan.first_D).T)] < stop_DN
        if plan.reads.source == SECOND:  # the newest row that is known may be of days before
            scored_DN = member_DN < stop_DN
        day_K, code_K = np.nonzero(member_DN < stop_DN if plan.reads.compared else scored_DN)
        member_K, stop_K = member_DN[day_K, code_K], stop_DN[day_K, code_K]
        oldest_K = np.maximum(self.at_R[member_K] - plan.reads.lookback, 0)
        begin_K = np.searchsorted(self.key_R, code_K * self.entries + oldest_K)
        sum_K = self.rows_R1[stop_K] - self.rows_R1[begin_K] + self.members_R1[stop_K] - self.members_R1[member_K]
        return RowHashes(
            reads=plan.reads,
            days=plan.days,
            instruments=instruments,
            day_K=day_K.astype(np.int32),
            code_K=code_K.astype(np.int32),
            hash_K=_mixed(sum_K * self.power_T[plan.last_D[day_K]]),
            scored_K=scored_DN[day_K, code_K],
        )


def joined_hashes(parts: Sequence[RowHashes]) -> RowHashes | None:
    """Put together the hashes of different instruments over the same days."""
    if not parts:
        return None
    names = tuple(sorted({name for part in parts for name in part.instruments}))
    code_of = {name: code for code, name in enumerate(names)}
    codes = [np.array([code_of[name] for name in part.instruments], np.int32)[part.code_K] for part in parts]
    code_K, day_K = np.concatenate(codes), np.concatenate([part.day_K for part in parts])
    order_K = np.lexsort((code_K, day_K))
    return replace(
        parts[0],
        instruments=names,
        day_K=day_K[order_K],
        code_K=code_K[order_K],
        hash_K=np.concatenate([part.hash_K for part in parts])[order_K],
        scored_K=np.concatenate([part.scored_K for part in parts])[order_K],
    )


def concept_hashes(concepts: Concepts, scored: RowHashes) -> RowHashes:
    """Hash the concepts that hold at the beginning and at the end of each day, of those who have a row on it."""
    edges = np.column_stack([scored.days.astype("datetime64[us]"), (scored.days + 1).astype("datetime64[us]") - TICK])
    spans = concepts.memberships(scored.instruments, edges.ravel())
    named = np.array([_text_hash(name) for name in concepts.names], np.uint64)
    kept_K = scored.scored_K
    day_K, code_K = scored.day_K[kept_K], scored.code_K[kept_K]
    hash_K = np.zeros(len(day_K), np.uint64)
    first_NP, stop_NP, hash_NP = spans.first_NP.numpy(), spans.stop_NP.numpy(), named[spans.concept_NP.numpy()]
    for p in range(first_NP.shape[1]):
        for edge in (0, 1):
            place_K = 2 * day_K + edge
            holds_K = (first_NP[code_K, p] <= place_K) & (place_K < stop_NP[code_K, p])
            hash_K += np.where(holds_K, hash_NP[code_K, p] * np.uint64(2 * edge + 1), np.uint64(0))
    return replace(
        scored,
        reads=Reads(source=CONCEPTS),
        day_K=day_K,
        code_K=code_K,
        hash_K=_mixed(hash_K),
        scored_K=np.ones(len(day_K), np.bool_),
    )


def _text_hash(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little")


def _values(x_R: Float32 | None, inside_R: Mask) -> Float32:
    return np.full(int(inside_R.sum()), np.nan, np.float32) if x_R is None else x_R[inside_R]


def _row_hashes(datetime_R: Moments, columns: Sequence[Float32]) -> Hashes:
    """Hash the stamp and the values of each row."""
    hash_R = _mixed(datetime_R.astype("datetime64[us]").astype(np.int64).view(np.uint64))
    for bits_R in map(_bits, columns):
        hash_R = _mixed(hash_R ^ bits_R)
    return hash_R


def _bits(x_R: Float32) -> Hashes:
    bits_R = (x_R.astype(np.float32) + np.float32(0)).view(np.uint32)  # -0.0 + 0.0 is 0.0
    bits_R[np.isnan(x_R)] = _NAN
    return bits_R.astype(np.uint64)


def _mixed(x: Hashes) -> Hashes:
    """Spread every bit over all (the finaliser of splitmix64)."""
    x = x + np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed: Hashes = x ^ (x >> np.uint64(31))
    return mixed


def _powers(base: int, count: int) -> Hashes:
    factors = np.full(max(count, 1), base, np.uint64)
    factors[0] = 1
    powers: Hashes = np.cumprod(factors)
    return powers


def _running(x_R: Hashes) -> Hashes:
    return np.concatenate([np.zeros(1, np.uint64), np.cumsum(x_R, dtype=np.uint64)])
