"""Who may write a folder: one process at a time, and a dead one not at all.

A claim is a small file beside the folder, ``<folder>.claim``, there for as long as its owner writes.

Local: the file is locked (``flock``), and the system lets go of the lock when the process ends, however it ends.
S3: the object is put on the condition that there is none and renewed every ``RENEW_SECONDS``; one that was not
renewed for ``DEAD_SECONDS`` by the server's clock belongs to nobody and is taken over on the condition that it is
still the same. One that was stopped for so long and wakes up publishes nothing any more: before it changes what is in
the store it renews its claim, which it no longer can. A file system without locks, and a server without conditions,
keep nobody out.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import pyarrow.fs as pafs

from raybench.errors import DataError
from raybench.storage import files, guards
from raybench.storage.whole import client

SUFFIX = ".claim"
RENEW_SECONDS, DEAD_SECONDS = 20.0, 90.0
_NOT_SO = ("PreconditionFailed", "412", "ConditionalRequestConflict", "409", "NoSuchKey", "404")
_NO_LOCKS = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Owner:
    """Who holds a claim, for the message that others get; ``token`` tells two claims of one process apart."""

    what: str
    host: str
    pid: int
    since: str
    token: str

    @classmethod
    def me(cls, what: str) -> Owner:
        """This process, from now on."""
        now = datetime.now(UTC).isoformat(timespec="seconds")
        return cls(what=what, host=socket.gethostname(), pid=os.getpid(), since=now, token=uuid.uuid4().hex)

    @classmethod
    def read(cls, data: bytes) -> Owner | None:
        """Who wrote ``data``; None if that cannot be told (a claim that is being written is empty)."""
        try:
            return cls(**json.loads(data))
        except (ValueError, TypeError):
            return None

    def to_bytes(self) -> bytes:
        """What the file of the claim holds."""
        return json.dumps(asdict(self)).encode()


@contextlib.contextmanager
def held(uri: files.Uri, *, what: str) -> Iterator[None]:
    """Be the only one who writes the folder ``uri`` while the block runs; ``what`` is the command, such as import.

    DataError, at once and with nothing changed, if a living process has it.
    """
    place = files.open_location(uri)
    if place.local:
        with _held_locally(place, Owner.me(what)):
            yield
    elif isinstance(place.fs, pafs.S3FileSystem):
        with _held_on_s3(place, Owner.me(what)):
            yield
    else:
        yield


class TakenError(DataError):
    """A living process has what is to be written."""


class SupersededError(DataError):
    """What is to be written was taken over by another process while this one was not heard of."""


def _taken(place: files.Location, owner: Owner | None) -> TakenError:
    by = "another process" if owner is None else _named(owner)
    since = "" if owner is None else f" since {owner.since}"
    return TakenError(f"{place.uri}: is being written by {by}{since}; wait for it to end, or choose another place")


def _named(owner: Owner) -> str:
    return f"`raybench {owner.what}` (process {owner.pid} on {owner.host})"


@contextlib.contextmanager
def _held_locally(place: files.Location, owner: Owner) -> Iterator[None]:
    at = os.path.realpath(place.path)  # a link to a folder is another name of it, not another folder
    made = _make_folders(place, os.path.dirname(at))
    path = at + SUFFIX
    handle = None
    try:
        handle = _lock(place, path)
        if handle is not None:
            os.ftruncate(handle, 0)
            os.write(handle, owner.to_bytes())
        yield
    finally:
        if handle is not None:
            with contextlib.suppress(OSError):
                os.unlink(path)
            os.close(handle)
        for new in made:  # those that nothing was put into
            with contextlib.suppress(OSError):
                os.rmdir(new)


def _make_folders(place: files.Location, folder: str) -> list[str]:
    """Make a folder and its parents; gives those that were not there, the innermost first."""
    try:
        return files.make_folders(folder)
    except OSError as error:
        raise DataError(f"{place.uri}: cannot be written: {error.strerror}; choose another place") from error


def _lock(place: files.Location, path: str) -> int | None:
    """The locked file; None where nothing can be locked: no such locks here, or no right to write beside."""
    while True:
        try:
            handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except (PermissionError, OSError) as error:
            if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
                return None  # what has to be written will say so, if it cannot be either
            raise DataError(f"{place.uri}: cannot be written: {error.strerror}; choose another place") from error
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            owner = Owner.read(os.read(handle, 4096))
            os.close(handle)
            raise _taken(place, owner) from None
        except OSError as error:
            os.close(handle)
            if error.errno in _NO_LOCKS:
                return None
            raise DataError(f"{place.uri}: cannot be claimed: {error.strerror}; choose another place") from error
        if _is_at(handle, path):
            return handle
        os.close(handle)  # its owner took it away between our opening and locking it


def _is_at(handle: int, path: str) -> bool:
    with contextlib.suppress(FileNotFoundError):
        there, here = os.stat(path), os.fstat(handle)
        return (there.st_dev, there.st_ino) == (here.st_dev, here.st_ino)
    return False


@contextlib.contextmanager
def _held_on_s3(place: files.Location, owner: Owner) -> Iterator[None]:
    claim = _S3Claim(place, owner)
    claim.take()
    guards.guards.append(claim.check)
    ended = threading.Event()
    thread = threading.Thread(target=claim.renew_until, args=(ended,), name="claim", daemon=True)
    thread.start()
    try:
        yield
    finally:
        guards.guards.remove(claim.check)
        ended.set()
        thread.join()
        claim.release()


class _S3Claim:
    """One object; every change of it is on a condition, so that of two who want it one gets it."""

    def __init__(self, place: files.Location, owner: Owner) -> None:
        self.place, self.owner = place, owner
        bucket, _, key = (place.path.rstrip("/") + SUFFIX).partition("/")
        self._where = {"Bucket": bucket, "Key": key}
        self._etag, self._renewed = "", (0.0, 0.0)
        self._changing = threading.Lock()

    def take(self) -> None:
        """Own the object, or raise who does."""
        if self._put(IfNoneMatch="*"):
            return
        found = self._found()
        if found is None:  # given back in this moment
            taken = self._put(IfNoneMatch="*")
        else:
            taken = found.age > DEAD_SECONDS and self._put(IfMatch=found.etag)
        if not taken:
            raise _taken(self.place, None if found is None else found.owner)

    def check(self, path: str) -> None:
        """Raise SupersededError if ``path`` is of what is claimed, which by now is somebody else's.

        The store is asked only where the last renewal was a while ago: this process, or its machine, was stopped then.
        """
        claimed = self.place.path.rstrip("/")
        if path != claimed and not path.startswith((f"{claimed}/", f"{claimed}.")):
            return
        quiet = max(now - then for now, then in zip(_clocks(), self._renewed, strict=True))
        if quiet <= 2 * RENEW_SECONDS or self._put(IfMatch=self._etag):
            return
        found = self._found()
        by = "another process" if found is None or found.owner is None else _named(found.owner)
        raise SupersededError(
            f"{self.place.uri}: was taken over by {by}, as this command was not heard of for {quiet:.0f} s: it is "
            "superseded, and what the other one publishes stands"
        )

    def renew_until(self, ended: threading.Event) -> None:
        """Say that the owner lives; stop saying it when somebody else has the object."""
        while not ended.wait(RENEW_SECONDS):
            with contextlib.suppress(DataError):  # a server that is away now and then
                if not self._put(IfMatch=self._etag):
                    return

    def release(self) -> None:
        """Give the object back, unless it is somebody else's by now."""
        with contextlib.suppress(DataError):
            found = self._found()
            if found is not None and found.owner == self.owner:
                self._call("delete_object")

    def _found(self) -> _Found | None:
        answer = self._call("get_object")
        if answer is None:
            return None
        headers = answer["ResponseMetadata"]["HTTPHeaders"]
        now = parsedate_to_datetime(headers["date"]) if "date" in headers else datetime.now(UTC)
        age = (now - answer["LastModified"]).total_seconds()
        return _Found(owner=Owner.read(answer["Body"].read()), etag=answer["ETag"], age=age)

    def _put(self, **condition: str) -> bool:
        """Write the object; False if the condition does not hold."""
        with self._changing:
            if "IfMatch" in condition and self._etag:
                condition = {"IfMatch": self._etag}  # of now: the other thread may have renewed it
            answer = self._call("put_object", Body=self.owner.to_bytes(), **condition)
            if answer is not None:
                self._etag, self._renewed = answer["ETag"], _clocks()
            return answer is not None

    def _call(self, name: str, **options: Any) -> Any:
        """Ask the server; None if there is no such object, or it is not as the condition wants it."""
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            return getattr(client(os.environ.get("AWS_ENDPOINT_URL")), name)(**self._where, **options)
        except ClientError as error:
            if error.response["Error"]["Code"] in _NOT_SO:
                return None
            raise DataError(f"{self.place.uri}: cannot be claimed: {' '.join(str(error).split())}") from error
        except BotoCoreError as error:
            raise DataError(f"{self.place.uri}: cannot be reached: {' '.join(str(error).split())}") from error


def _clocks() -> tuple[float, float]:
    """Two of them: one stands still while a machine sleeps, the other is set."""
    return time.monotonic(), time.time()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    owner: Owner | None
    etag: str
    age: float
