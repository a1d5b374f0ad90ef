"""Where data lies, local folder or ``s3://``, and the only place that publishes what readers see.

A location is a plain string: a local path (relative ones are made absolute) or ``s3://bucket/key``.
S3 takes its credentials, region and endpoint from the usual AWS variables
(AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_REGION, AWS_ENDPOINT_URL).

Publishing is all or nothing. Local: the bytes are written beside the folder of the target, forced to
disk, renamed into place, and the folder is forced to disk, as is every folder that was made on the way
(``storage.folders``). S3: one object is put. Whoever reads finds the old file or the new one, whole. With ``over`` that
is done only in the place of a version that was seen before (``storage.versions``), or of nothing.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO, TypeVar
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.fs as pafs

from raybench.errors import DataError
from raybench.storage import aside, folders, guards, refusals, s3_client
from raybench.storage.encoding import encode_table
from raybench.storage.local_versions import OtherVersionError, move_over
from raybench.storage.losses import is_loss, telling_losses

Uri = str | os.PathLike[str]
_PACKED = {".gz": "gzip", ".zst": "zstd", ".bz2": "bz2", ".lz4": "lz4"}
T = TypeVar("T")
_MISTYPED = re.compile(r"\s*(?:(s3)[an]?(?::|/(?=/))|(?:file|gs|gcs|https?|hdfs|abfss?|az)[:/](?=/))/*", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Location:
    """A place a file or folder can be: ``path`` is what ``fs`` wants, ``uri`` what people are told."""

    fs: Any
    path: str
    uri: str

    @property
    def local(self) -> bool:
        return isinstance(self.fs, pafs.LocalFileSystem)


def open_location(uri: Uri) -> Location:
    """The file system and path of a local path, a ``file://`` or an ``s3://`` address."""
    text = os.fspath(uri)
    if not _is_text(text):
        raise DataError(
            f"{text!a}: is no UTF-8 text, which names of files have to be; rename it, or set LC_ALL=C.UTF-8"
        )
    if not text.strip():
        raise DataError(f"{text!r} is no address; want a local path or s3://bucket/key")
    scheme, separator, rest = text.partition("://")
    if not separator:
        if meant := _MISTYPED.match(text):
            wanted = f"s3://{text[meant.end() :] or 'bucket/key'}" if meant[1] else "a local path or s3://bucket/key"
            raise DataError(f"{text}: is no address; want {wanted} (a folder of that name: ./{text})")
        path = os.path.abspath(os.path.expanduser(text))
        return Location(fs=pafs.LocalFileSystem(), path=path, uri=path)
    if scheme == "file":
        path = "/" + rest.lstrip("/")
        return open_location(path if os.path.lexists(path) else unquote(path))
    if scheme != "s3":
        raise DataError(f"{text}: the address starts with {scheme}://; want a local path or s3://bucket/key")
    path = rest.strip("/")
    if not path:
        raise DataError(f"{text}: the address names no bucket; want s3://bucket/key")
    region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
    return Location(
        fs=s3_client.file_system(os.environ.get("AWS_ENDPOINT_URL", ""), region), path=path, uri=f"s3://{path}"
    )


def _is_text(name: str) -> bool:
    """Whether a name came in the encoding of names: bytes that did not are half a character each."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def join(uri: Uri, *parts: str) -> str:
    """``uri`` with parts appended, whatever the scheme."""
    return "/".join([os.fspath(uri).rstrip("/"), *(part.strip("/") for part in parts)])


def sibling(uri: Uri, suffix: str) -> str:
    """The neighbour whose name is this one's plus ``suffix``: ``data/x`` -> ``data/x.staging``."""
    return os.fspath(uri).rstrip("/") + suffix


def name_of(uri: Uri) -> str:
    """The last part of an address."""
    return open_location(uri).path.rstrip("/").rpartition("/")[2]


def exists(uri: Uri) -> bool:
    """Whether a file or folder is there."""
    return bool(_info(uri).type != pafs.FileType.NotFound)


def is_folder(uri: Uri) -> bool:
    """Whether a folder (on S3: anything below this prefix) is there."""
    return bool(_info(uri).type == pafs.FileType.Directory)


def sizes(uri: Uri) -> dict[str, int]:
    """Bytes of every file below a folder, by its path relative to the folder, sorted; empty without any."""
    place = open_location(uri)
    found = _below(place, recursive=True)
    base = place.path.rstrip("/") + "/"
    return dict(sorted((i.path.removeprefix(base), int(i.size)) for i in found if i.is_file))


def stamps(uri: Uri) -> dict[str, tuple[int, int]]:
    """Bytes of every file below a folder and when it was written (ns), by relative path; of a file its own."""
    place = open_location(uri)
    if _info(uri).type == pafs.FileType.File:
        found, base = [_info(uri)], os.path.dirname(place.path)
    else:
        found, base = _below(place, recursive=True), place.path
    known = ((i.path.removeprefix(base.rstrip("/") + "/"), (int(i.size), int(i.mtime_ns))) for i in found if i.is_file)
    return dict(sorted(known))


def children(uri: Uri) -> list[str]:
    """Names of the files and folders right below a folder, sorted; empty if it is not there."""
    return sorted(str(i.base_name) for i in _below(open_location(uri), recursive=False))


def _below(place: Location, *, recursive: bool) -> list[Any]:
    """What lies below a folder; nothing where there is none, or a file. DataError for a name that is no text."""
    selector = pafs.FileSelector(place.path, recursive=recursive, allow_not_found=True)

    def ask() -> list[Any]:
        with contextlib.suppress(NotADirectoryError):
            return list(place.fs.get_file_info(selector))
        return []

    found = asked(place, ask)
    for info in found:
        try:
            info.path  # noqa: B018 - is decoded here
        except UnicodeDecodeError as error:
            raise DataError(
                f"{place.uri}: holds a file or folder whose name is no UTF-8 text ({error.object!r}); rename it"
            ) from None
    return found


def list_files(uri: Uri, suffix: str | tuple[str, ...] = "") -> list[str]:
    """Addresses of the files below a folder whose name ends in ``suffix``, in any case, sorted; hidden ones left out.

    The address of a file gives that file.
    """
    if _info(uri).type == pafs.FileType.File:
        return [open_location(uri).uri]
    names = (name for name in sizes(uri) if name.lower().endswith(suffix) and not _hidden(name))
    base = open_location(uri).uri
    return [join(base, name) for name in names]


def _hidden(path: str) -> bool:
    return any(part.startswith((".", "_", "~$")) for part in path.split("/"))


def read_bytes(uri: Uri) -> bytes:
    """The whole content of a file."""
    with open_input(uri) as stream:
        return bytes(stream.read())


def read_text(uri: Uri) -> str:
    """A file that is text in UTF-8, with a byte order mark or without; DataError if it is not."""
    try:
        return read_bytes(uri).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(
            f"{open_location(uri).uri}: is damaged, or is no text in UTF-8 (byte {error.start}); restore it"
        ) from None


def read_if_there(uri: Uri) -> bytes | None:
    """The whole content of a file, None if there is none: on S3 one question less than to ask first."""
    place = open_location(uri)
    if isinstance(place.fs, pafs.LocalFileSystem):
        _refuse_waiting(place.path)

    def read() -> bytes | None:
        try:
            with place.fs.open_input_file(place.path) as stream:
                return bytes(stream.read())
        except (FileNotFoundError, NotADirectoryError):  # below a file there is none, either
            return None

    return asked(place, read)


@contextlib.contextmanager
def open_input(uri: Uri) -> Iterator[Any]:
    """A file opened for reading anywhere in it (a pyarrow file). DataError if its bytes do not come, now or later."""
    place = open_location(uri)
    if isinstance(place.fs, pafs.LocalFileSystem):
        _refuse_waiting(place.path)
    with asked(place, lambda: place.fs.open_input_file(place.path)) as stream, telling_losses(place.uri):
        yield stream


def _refuse_waiting(path: str) -> None:
    """Refuse what is no file and would keep whoever opens it waiting, perhaps for ever."""
    with contextlib.suppress(OSError):  # said by whoever opens it
        mode = os.stat(path).st_mode
        if stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode) or stat.S_ISCHR(mode):
            raise DataError(f"{path}: is a pipe, a socket or a device; want a file")


@contextlib.contextmanager
def open_stream(uri: Uri) -> Iterator[Any]:
    """A file opened for reading once from front to back, decompressed as its suffix says (.gz, .zst ...)."""
    place = open_location(uri)
    packed = next((kind for ending, kind in _PACKED.items() if place.path.lower().endswith(ending)), None)
    stream = asked(place, lambda: place.fs.open_input_stream(place.path, compression=packed))
    with stream, telling_losses(place.uri):
        try:
            yield stream
        except OSError as error:
            if packed is None or is_loss(error):
                raise
            said = " ".join(str(error).split())
            raise DataError(f"{place.uri}: cannot be unpacked as {packed} ({said}); fetch it again") from error


def publish_bytes(uri: Uri, data: bytes, *, staging: str | None = None, over: str | None = None) -> None:
    """Put a file in place whole. See ``publish_file``."""

    def write(stream: BinaryIO) -> None:
        stream.write(data)

    publish_file(uri, write, staging=staging, over=over)


def publish_table(
    uri: Uri,
    table: Any,
    *,
    metadata: Mapping[str, str] | None = None,
    row_groups: Sequence[int] | None = None,
    staging: str | None = None,
    **options: Any,
) -> None:
    """Put an Arrow table in place as Parquet. ``metadata`` goes into its footer; see ``encode_table``."""
    data = encode_table(table, metadata=metadata, row_groups=row_groups, **options)
    publish_bytes(uri, data, staging=staging)


def publish_file(
    uri: Uri, write: Callable[[BinaryIO], None], *, staging: str | None = None, over: str | None = None
) -> None:
    """Put in place whole what ``write`` writes.

    ``staging`` is the local folder to write aside in, on the same file system and not among the data;
    by default ``<folder of the target>.staging``. It goes away when it is empty. S3 has no use for it.
    Where the folder is all that can be written (a volume that is mounted there), it is ``.staging`` inside.
    DataError if the disk is full or may not be written; what was there before stays. OtherVersionError if that is not
    the version ``over``, where one is given.
    """
    place = open_location(uri)
    if place.local:
        beside = sibling(os.path.dirname(place.path), ".staging")
        try:
            _publish_local(place, write, aside.usable(beside if staging is None else open_location(staging).path), over)
        except OSError as error:
            if error.errno is None:  # not the system's
                raise
            raise DataError(
                f"{place.uri}: cannot be written: {error.strerror}; make room or choose another place"
            ) from error
        return
    buffer = io.BytesIO()
    write(buffer)  # whole in memory first: closing an S3 stream early would publish half a file
    guards.ask(place.path)
    _checkpoint("put", place.uri)
    if over is None or not isinstance(place.fs, pafs.S3FileSystem):
        asked(place, lambda: _put(place, buffer))
    elif not asked(place, lambda: s3_client.put_over(place.path, buffer.getvalue(), over)):
        raise _other(place)


def refuse_missing_bucket(uri: Uri) -> None:
    """DataError where ``uri`` lies in a bucket that is not there; asked where nothing was found."""
    place = open_location(uri)
    if isinstance(place.fs, pafs.S3FileSystem):
        refusals.require_bucket(place.fs, place.uri)


def remove(uri: Uri) -> None:
    """Delete a file, for good: what is published after it is not found beside it. One that is not there is no error."""
    place = open_location(uri)
    if not place.local:
        guards.ask(place.path)
    _checkpoint("remove", place.uri)
    _take_away(place, place.fs.delete_file)
    if place.local:
        with contextlib.suppress(OSError):  # it went with its folder, or may be passed through and not be read
            folders.sync_folder(os.path.dirname(place.path))


def discard(uri: Uri) -> None:
    """Delete a folder with all in it, such as what an interrupted command left in staging."""
    place = open_location(uri)
    if not place.local:
        guards.ask(place.path)
    _checkpoint("discard", place.uri)
    _take_away(place, place.fs.delete_dir)


def _take_away(place: Location, delete: Callable[[str], None]) -> None:
    """Delete what may be gone already."""
    try:
        delete(place.path)
    except FileNotFoundError:
        return
    except (OSError, pa.ArrowException) as error:
        if not place.local:
            raise DataError(refusals.said_of(place.uri, error)) from error
        number = getattr(error, "errno", None)
        why = os.strerror(number) if number else " ".join(str(error).split())
        raise DataError(f"{place.uri}: cannot be removed: {why}; remove it, or choose another place") from error


def _checkpoint(step: str, uri: str) -> None:
    """Called before every step that changes what is stored; a test replaces it to fail at the k-th."""


def _put(place: Location, buffer: io.BytesIO) -> None:
    with place.fs.open_output_stream(place.path, buffer_size=0) as stream:
        stream.write(buffer.getbuffer())


def _other(place: Location) -> OtherVersionError:
    return OtherVersionError(f"{place.uri}: somebody else has written it since; what is there stays")


def _publish_local(place: Location, write: Callable[[BinaryIO], None], staging: str, over: str | None) -> None:
    folder = os.path.dirname(place.path)
    path = os.path.join(staging, aside.new_name(os.path.basename(place.path)))
    _checkpoint("stage", place.uri)
    aside.clear(staging)
    try:
        with aside.create(path) as stream:
            _checkpoint("write", place.uri)
            write(stream)
            stream.flush()
            _checkpoint("sync", place.uri)
            os.fsync(stream.fileno())
            folders.make_folders(folder)
            _checkpoint("rename", place.uri)
            if over is None:
                os.replace(path, place.path)
            elif not move_over(path, place.path, over):
                raise _other(place)
        _checkpoint("sync folder", place.uri)
        folders.sync_folder(folder)
    finally:
        with contextlib.suppress(OSError):
            os.unlink(path)
        with contextlib.suppress(OSError):  # somebody else's file is in there still
            os.rmdir(staging)


def _info(uri: Uri) -> Any:
    place = open_location(uri)
    found = asked(place, lambda: place.fs.get_file_info(place.path))
    if found.type == pafs.FileType.NotFound:
        refuse_missing_bucket(uri)
    return found


def asked(place: Location, call: Callable[[], T]) -> T:
    """What ``call`` gives; its error of a store as one that names the place."""
    try:
        return call()
    except FileNotFoundError:
        refuse_missing_bucket(place.uri)
        raise DataError(f"{place.uri}: there is no such file") from None
    except (OSError, pa.ArrowException) as error:
        raise DataError(refusals.said_of(place.uri, error)) from error
