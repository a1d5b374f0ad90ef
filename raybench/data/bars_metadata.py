"""What ``BARS/metadata.json`` says: the one file that makes the others a dataset."""

from __future__ import annotations

import functools
import hashlib
import json
from dataclasses import asdict, dataclass, field
from typing import Any

from pydantic import TypeAdapter, ValidationError

from raybench.errors import DataError

METADATA = "metadata.json"
KIND = "raybench bars"
SCHEMA_VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class BarsFile:
    """One Parquet file of whole instruments; ``counts`` are their rows, in the order of the file.

    ``sha256`` is of the whole file, ``footer`` of its footer alone (empty: written before that was kept).
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

    def rows_of(self) -> dict[str, range]:
        """Which rows of the file each instrument has."""
        ranges: dict[str, range] = {}
        start = 0
        for name, count in zip(self.instruments, self.counts, strict=True):
            ranges[name] = range(start, start + count)
            start += count
        return ranges


@dataclass(frozen=True, slots=True, kw_only=True)
class BarsMetadata:
    """Everything about a bars dataset but its values.

    Parameters
    ----------
    universes : name -> file, ``all`` among them
    source : where the bars came from (format, address), for people
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
            if version != SCHEMA_VERSION:
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


def _sha256(content: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


@functools.cache
def _adapter() -> TypeAdapter[BarsMetadata]:
    return TypeAdapter(BarsMetadata)
