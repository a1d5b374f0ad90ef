"""What ``BARS/metadata.json`` says: the one file that makes the others a dataset."""

from __future__ import annotations

import bisect
import functools
import hashlib
import json
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from pydantic import TypeAdapter, ValidationError

from raybench.errors import DataError

KIND = "raybench bars"
SCHEMA_VERSION = 2
_READABLE = (1, SCHEMA_VERSION)


@dataclass(frozen=True, slots=True, kw_only=True)
class BarsFile:
    """One Parquet file; ``counts`` are the rows that each of ``instruments`` has in it, one after another in time.

    ``first``, ``last``: the range of time of its rows. ``sha256`` is of the whole file, ``footer`` of its footer alone
    (empty: written before that was kept).
    """

    name: str
    rows: int
    instruments: tuple[str, ...]
    counts: tuple[int, ...]
    first: str
    last: str
    bytes: int
    sha256: str
    footer: str = ""

    def span(self) -> tuple[np.datetime64, np.datetime64]:
        """The first and the last moment of its rows."""
        return moment_of(self.first), moment_of(self.last)


@dataclass(frozen=True, slots=True, kw_only=True)
class Histories:
    """What each of N instruments has, whatever files its rows are in.

    Parameters
    ----------
    instruments : N names, sorted
    starts : the position of the first row in the calendar
    counts : rows, one for each calendar entry from the first on
    newest : the position of the newest bar, a row with a price; -1 for none
    trailing : rows of NaN that follow the last, up to where the calendar or the last membership of a universe ends
    digests : of the rows, see `digests`
    """

    instruments: tuple[str, ...]
    starts: tuple[int, ...]
    counts: tuple[int, ...]
    newest: tuple[int, ...]
    trailing: tuple[int, ...]
    digests: tuple[str, ...]

    def row(self, name: str) -> int | None:
        """Where an instrument stands; None if it is not there."""
        at = bisect.bisect_left(self.instruments, name)
        return at if at < len(self.instruments) and self.instruments[at] == name else None

    def trailing_rows(self, name: str) -> range:
        """The positions in the calendar of the rows that follow the last of an instrument."""
        at = self.row(name)
        stop = 0 if at is None else self.starts[at] + self.counts[at]
        return range(stop, stop + (0 if at is None else self.trailing[at]))


@dataclass(frozen=True, slots=True, kw_only=True)
class BarsMetadata:
    """Everything about a bars dataset but its values.

    Parameters
    ----------
    universes : name -> file, ``all`` among them
    source : where the bars came from (format, address), for people
    histories : what each instrument has; None in a dataset of version 1
    given : whether the universe ``all`` came with the source
    slices : how many of the files, the last ones, hold what was appended
    warnings : name -> {count, examples}: oddities found in the bars, which were kept as they are
    """

    frequency: str
    fingerprint: str
    fields: tuple[str, ...]
    dates: int
    first: str
    last: str
    calendar: str
    files: tuple[BarsFile, ...]
    universes: dict[str, str]
    source: dict[str, str] = field(default_factory=dict)
    warnings: dict[str, dict[str, Any]] = field(default_factory=dict)
    histories: Histories | None = None
    given: bool = False
    slices: int = 0

    @property
    def rows(self) -> int:
        return sum(file.rows for file in self.files)

    @property
    def names(self) -> tuple[str, ...]:
        """Every file of the dataset but the metadata itself."""
        return (*(file.name for file in self.files), self.calendar, *self.universes.values())

    def to_json(self) -> bytes:
        """The content of ``metadata.json``; equal metadata gives equal bytes."""
        content = {"kind": KIND, "schema_version": SCHEMA_VERSION, **asdict(self)}
        content["sha256"] = _sha256(content)
        return (json.dumps(content, indent=1, ensure_ascii=False) + "\n").encode()

    @classmethod
    def from_json(cls, data: bytes, *, where: str) -> BarsMetadata:
        """Back from ``to_json``; ``where`` names the file in errors."""
        try:
            content = json.loads(data)
            if not isinstance(content, dict) or content.pop("kind", None) != KIND:
                raise DataError(f"{where}: is not the metadata of a bars dataset")
            version = content.get("schema_version")
            if version not in _READABLE:
                raise DataError(
                    f"{where}: has schema version {version}, want {SCHEMA_VERSION}; import again with --replace"
                )
            written = content.pop("sha256", None)  # older ones have none
            if written is not None and written != _sha256({"kind": KIND, **content}):
                raise DataError(f"{where}: is damaged (it is not as it was written); import again with --replace")
            del content["schema_version"]
            return _adapter().validate_python(content)
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(map(str, first["loc"]))
            raise DataError(f"{where}: is damaged ({place}: {first['msg']}); import again with --replace") from None
        except (ValueError, RecursionError) as error:
            raise DataError(f"{where}: is damaged ({error}); import again with --replace") from None


def content_hash(name: str) -> str:
    """The first digits of the SHA-256 of a file's content, which its name ends in."""
    return name.rpartition("-")[2].partition(".")[0]


def moment_of(text: str) -> np.datetime64:
    """The moment that the metadata writes as a date, or as a date and a time of day."""
    return np.datetime64(text.replace(" ", "T"), "us")


def _sha256(content: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


@functools.cache
def _adapter() -> TypeAdapter[BarsMetadata]:
    return TypeAdapter(BarsMetadata)
