"""What a date was made from, as the footer of its score file says it: a hash of exactly the rows that were read.

    "made_from": [{"reads": {"source": "bars", "window": 20, ...}, "hash": "...", "by_instrument": "..."}]

One entry for each source and way of reading it, so that bars alone tell what they can tell. ``by_instrument`` names
who changed: four bytes for each instrument of the file, in its order, as base64. Addresses are no part of it: the same
rows at another place make the same file.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from raybench.errors import DataError
from raybench.panel.row_hashes import BARS, FEATURES, Reads, RowHashes

KEY = "made_from"


@dataclass(frozen=True, slots=True, kw_only=True)
class MadeFrom:
    """The hash of the rows of one source. ``short_N``: of those of each instrument of the file, in its order."""

    reads: Reads
    hash: str
    short_N: NDArray[np.uint32]

    def to_json(self) -> dict[str, Any]:
        """Write it as the footer has it."""
        text = base64.b64encode(self.short_N.astype("<u4").tobytes()).decode()
        return {"reads": self.reads.to_json(), "hash": self.hash, "by_instrument": text}

    @classmethod
    def of_json(cls, said: Any, *, where: str) -> MadeFrom:
        """Read what ``to_json`` wrote; DataError if it is something else."""
        try:
            data = base64.b64decode(said["by_instrument"], validate=True)
            short_N = np.frombuffer(data, "<u4").astype(np.uint32)
            return cls(reads=Reads.of_json(said["reads"], where=where), hash=str(said["hash"]), short_N=short_N)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise DataError(f"{where}: what its scores were made from cannot be read ({error}); score again") from None


def made_from(hashes: RowHashes, day: np.datetime64, instruments: Sequence[str]) -> MadeFrom:
    """What the scores of these ``instruments``, ascending, were made from on a day."""
    names, hash_N, _ = hashes.of(day)
    short = dict(zip(names, (hash_N & np.uint64(0xFFFFFFFF)).tolist(), strict=True))
    short_N = np.array([short.get(name, 0) for name in instruments], np.uint32)
    return MadeFrom(reads=hashes.reads, hash=date_hash(hashes, day, instruments), short_N=short_N)


def date_hash(hashes: RowHashes, day: np.datetime64, instruments: Collection[str]) -> str:
    """One hash of all rows of a day.

    What only some network reads of its instruments (a second window, concepts) counts for those that have a score.
    """
    names, hash_N, scored_N = hashes.of(day)
    if needs_names(hashes.reads):
        kept = set(instruments)
        kept_N = np.array([name in kept for name in names], np.bool_)
        names, hash_N, scored_N = [name for name in names if name in kept], hash_N[kept_N], scored_N[kept_N]
    digest = hashlib.sha256(json.dumps([hashes.reads.to_json(), names], sort_keys=True).encode())
    digest.update(hash_N.astype("<u8").tobytes())
    digest.update(scored_N.astype(np.uint8).tobytes())
    return digest.hexdigest()[:32]


def needs_names(reads: Reads) -> bool:
    """Whether only the score file says whose rows count."""
    return reads.source not in (BARS, FEATURES)


def facts_of(every: Iterable[RowHashes], day: np.datetime64, instruments: Sequence[str]) -> dict[str, Any]:
    """What goes into the footer of a day; nothing where nothing was hashed."""
    said = [made_from(hashes, day, instruments).to_json() for hashes in every]
    return {KEY: said} if said else {}


def read_made_from(extra: Mapping[str, Any], *, where: str) -> tuple[MadeFrom, ...]:
    """What a footer says; nothing if its date was scored before this was kept."""
    said = extra.get(KEY, [])
    if not isinstance(said, list):
        raise DataError(f"{where}: what its scores were made from cannot be read; score again")
    return tuple(MadeFrom.of_json(one, where=where) for one in said)


def distinct(panels: Iterable[Collection[RowHashes]]) -> tuple[RowHashes, ...]:
    """The hashes of several panels over the same source, each way of reading once, in an order of their own."""
    by_reads = {json.dumps(one.reads.to_json(), sort_keys=True): one for hashes in panels for one in hashes}
    return tuple(by_reads[key] for key in sorted(by_reads))
