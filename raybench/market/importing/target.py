"""The folder of a bars dataset while an import has it: what is there, and what is put there so far."""

from __future__ import annotations

import contextlib
import hashlib
import re
from collections.abc import Iterator
from typing import Any

from raybench.errors import DataError
from raybench.market.bars_metadata import BarsMetadata
from raybench.storage import files as storage
from raybench.storage.encoding import encode_table
from raybench.storage.places import METADATA, STAGING

MARKER = "importing"
_OURS = re.compile(r"(bars/part-\d+|calendar/calendar|universe/[^/]+)-[0-9a-f]{16}\.parquet")


class Target:
    """The folder of the dataset: what is there, what this import has put there so far. Its owner alone makes one."""

    def __init__(self, uri: str, *, replace: bool) -> None:
        self.uri = uri
        self.staging = storage.join(uri, STAGING)
        self.old = existing(uri, replace=replace)
        self.published: list[str] = []
        self._begun = False

    def publish(self, name: str, data: bytes) -> None:
        """Put a file in place, unless the same is there."""
        uri = storage.join(self.uri, name)
        if storage.exists(uri) and storage.read_bytes(uri) == data:
            return
        if not self._begun:
            storage.publish_bytes(storage.join(self.staging, MARKER), b"raybench import\n")
            self._begun = True
        storage.publish_bytes(uri, data, staging=self.staging)
        self.published.append(name)

    def publish_table(self, stem: str, table: Any) -> str:
        """Put a small table in place under a name that tells its content; returns the name."""
        data = encode_table(table)
        name = f"{stem}-{hashlib.sha256(data).hexdigest()[:16]}.parquet"
        self.publish(name, data)
        return name

    def publish_metadata(self, metadata: BarsMetadata) -> None:
        """Make the files that were put in place the dataset, if they are all there.

        They are, unless another import had the folder too, on a file system that cannot keep it out.
        """
        gone = set(metadata.names) - set(storage.sizes(self.uri))
        if gone:
            raise DataError(f"{self.uri}: another import took {min(gone)} away while this one wrote; import again")
        self.publish(METADATA, metadata.to_json())

    def clear(self, metadata: BarsMetadata | None) -> None:
        """Delete what imports put here and the metadata does not name, then what they left in staging."""
        named = set() if metadata is None else set(metadata.names)
        for name in storage.sizes(self.uri):
            if _OURS.fullmatch(name) and name not in named:
                storage.remove(storage.join(self.uri, name))
        for name in staging_names(self.uri):
            storage.discard(storage.join(self.uri, name))

    @contextlib.contextmanager
    def changing(self) -> Iterator[None]:
        """Take back what was put in place if the block fails."""
        try:
            yield
        except BaseException:  # an interrupt too
            self.undo()
            raise

    def undo(self) -> None:
        """Take back what this import has published and the metadata, whichever is there now, does not name."""
        if self._begun:
            with contextlib.suppress(DataError):  # cannot be asked now: the next import clears
                now = existing(self.uri, replace=False)
                self.clear(now)
                if now is None:
                    self._remove_if_empty()

    def _remove_if_empty(self) -> None:
        """Delete the folder that was made for nothing; hidden files of somebody else's stay, and so does it."""
        if not storage.sizes(self.uri):
            storage.discard(self.uri)


def existing(uri: str, *, replace: bool) -> BarsMetadata | None:
    """What is there; None for nothing, and for a damaged dataset that is to be replaced."""
    if not storage.exists(uri):
        return None
    names = storage.children(uri)
    if METADATA in names:
        file = storage.join(uri, METADATA)
        try:
            return BarsMetadata.from_json(storage.read_bytes(file), where=file)
        except DataError:
            if replace and any(_OURS.fullmatch(name) for name in storage.sizes(uri)):
                return None
            raise
    if names and not staging_names(uri):
        raise DataError(f"{uri}: is no bars dataset (no {METADATA} in it); want a new or empty folder (--to)")
    return None


def staging_names(uri: str) -> list[str]:
    """What an import that was killed has left beside the data."""
    return [name for name in storage.children(uri) if name in (STAGING, STAGING + ".staging")]
