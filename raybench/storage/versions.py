"""Which content a file has, as its store tells without reading it: what it takes to replace only what one has seen.

A version is a text, ``ABSENT`` that of a file that is not there. Local: its size and time of change. S3: its tag, which
is made of its bytes. ``files.publish_bytes`` takes one as ``over``.
"""

from __future__ import annotations

import pyarrow.fs as pafs

from raybench.storage import files, s3_client
from raybench.storage.local_versions import ABSENT, OtherVersionError, local_version, local_versions

__all__ = ["ABSENT", "OtherVersionError", "version", "versions"]
_UNKNOWN = "unknown"


def version(uri: files.Uri) -> str:
    """The version of a file."""
    place = files.open_location(uri)
    if isinstance(place.fs, pafs.S3FileSystem):
        return files.asked(place, lambda: s3_client.tag_of(place.path))
    if place.local:
        return local_version(place.path)
    return _UNKNOWN if files.exists(uri) else ABSENT


def versions(uri: files.Uri) -> dict[str, str]:
    """The version of every file below a folder, by its path relative to the folder; one listing."""
    place = files.open_location(uri)
    if isinstance(place.fs, pafs.S3FileSystem):
        return files.asked(place, lambda: s3_client.tags_below(place.path))
    return local_versions(place.path) if place.local else dict.fromkeys(files.sizes(uri), _UNKNOWN)
