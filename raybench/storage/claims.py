"""Who may write a folder: one process at a time, and a dead one not at all.

A claim is a small file beside the folder, ``<folder>.claim``, there for as long as its owner writes.

Local: the file is locked (``flock``), and the system lets go of the lock when the process ends, however it ends.
S3: the object is put on the condition that there is none and renewed every ``RENEW_SECONDS``. It is taken over, on the
condition that it is still the same, from an owner of this machine that has ended, and from any that did not renew it
for ``DEAD_SECONDS`` by the server's clock. One that was stopped for so long and wakes up publishes nothing any more:
before it changes what is in the store it renews its claim, which it no longer can. What its Ray workers publish is
held by a ``Ticket``. A file system without locks, and a server without conditions, keep nobody out.

A living owner is told of at once, or after ``patience``. Whether one of another machine lives shows within
``DEAD_SECONDS``: it renews its claim, or it does not. So that is waited for.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import pyarrow.fs as pafs

from raybench.errors import DataError
from raybench.storage import files, folders, guards
from raybench.storage.owners import Owner
from raybench.storage.s3_client import client_of_now

SUFFIX = ".claim"
RENEW_SECONDS, DEAD_SECONDS = 20.0, 90.0
LOOK_SECONDS = 1.0  # between two looks at a claim that is waited for
_NOT_SO = ("PreconditionFailed", "412", "ConditionalRequestConflict", "409", "NoSuchKey", "404")
_NO_LOCKS = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS)

Say = Callable[[str], None]
"""Takes the line that says who is waited for."""


class TakenError(DataError):
    """A living process has what is to be written."""


class SupersededError(DataError):
    """What is to be written was taken over by another process while this one was not heard of."""


@contextlib.contextmanager
def held(uri: files.Uri, *, what: str, patience: float = 0.0, say: Say = lambda line: None) -> Iterator[None]:
    """Be the only one who writes the folder ``uri`` while the block runs; ``what`` is the command, such as import.

    TakenError, with nothing changed, if a living process has it and does not give it back within ``patience``
    seconds. ``say`` is told whom is waited for.
    """
    place = files.open_location(uri)
    wait = _Wait(place.uri, patience, say)
    if place.local:
        with _held_locally(place, Owner.me(what), wait):
            yield
    elif isinstance(place.fs, pafs.S3FileSystem):
        with _held_on_s3(place, Owner.me(what), wait):
            yield
    else:
        yield


@dataclass(frozen=True, slots=True, kw_only=True)
class Ticket:
    """By which another process knows whether the one that it works for still has the claim. It pickles.

    claim: where that is. path: of the folder, bucket first on S3.
    """

    claim: str
    path: str
    token: str

    def check(self) -> None:
        """SupersededError if somebody else has the claim, or the one who had it has given it back.

        One request on S3, whose failure says nothing: what is to be published then says it for itself.
        """
        try:
            owner = Owner.read(files.read_if_there(self.claim) or b"")
        except DataError:
            return
        if owner is None or owner.token != self.token:
            by = "given back" if owner is None else f"taken over by {owner.name}"
            raise SupersededError(
                f"{self.claim.removesuffix(SUFFIX)}: was {by} while this process worked on it: it is superseded, and "
                "publishes nothing any more"
            )


def ticket_of(uri: files.Uri) -> Ticket | None:
    """The ticket for the claim of this process that ``uri`` is held by; None if nothing was claimed, or can be."""
    place = files.open_location(uri)
    path = os.path.realpath(place.path) if place.local else place.path.rstrip("/")
    around = [ticket for ticket in tuple(_tickets) if path == ticket.path or path.startswith(f"{ticket.path}/")]
    return max(around, key=lambda ticket: len(ticket.path), default=None)


_tickets: list[Ticket] = []


@contextlib.contextmanager
def _ticketed(ticket: Ticket) -> Iterator[None]:
    _tickets.append(ticket)
    try:
        yield
    finally:
        _tickets.remove(ticket)


class _Wait:
    """How long one waits for whoever has a claim."""

    def __init__(self, uri: str, patience: float, say: Say) -> None:
        self._uri, self._patience, self._say = uri, patience, say
        self._began, self._told = time.monotonic(), ""

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._began

    def wait(self, owner: Owner | None, *, unknown: bool = False) -> None:
        """Wait a moment; TakenError where it was long enough. ``unknown``: nobody knows yet whether ``owner`` lives."""
        by = "another process" if owner is None else owner.name
        since = "" if owner is None else f" since {owner.since}"
        if not unknown and self.seconds >= self._patience:
            waited = f", after {self._patience:.0f} s still" if self._patience else ""
            raise TakenError(
                f"{self._uri}: is being written by {by}{since}{waited}; wait for it to end, or choose another place"
            )
        if by != self._told:
            self._told = by
            way = "to end, or to be found dead" if unknown else "to end"
            self._say(f"{self._uri}: waiting for {by}, which has it{since}, {way}")
        time.sleep(LOOK_SECONDS)


@contextlib.contextmanager
def _held_locally(place: files.Location, owner: Owner, wait: _Wait) -> Iterator[None]:
    at = os.path.realpath(place.path)  # a link to a folder is another name of it, not another folder
    made = _make_folders(place, os.path.dirname(at))
    path = at + SUFFIX
    handle = None
    try:
        handle = _lock(place, path, wait)
        with contextlib.ExitStack() as stack:
            if handle is not None:
                _say_whose(place, handle, owner)
                stack.enter_context(_ticketed(Ticket(claim=path, path=at, token=owner.token)))
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
        return folders.make_folders(folder)
    except OSError as error:
        raise DataError(f"{place.uri}: cannot be written: {error.strerror}; choose another place") from error


def _lock(place: files.Location, path: str, wait: _Wait) -> int | None:
    """The locked file; None where nothing can be locked: no such locks here, or no right to write beside."""
    while True:
        try:
            handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except (PermissionError, OSError) as error:
            if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
                return None  # what has to be written will say so, if it cannot be either
            if error.errno == errno.ENOENT:  # its owner made the folder, put nothing into it, and took it away
                _make_folders(place, os.path.dirname(path))
                continue
            raise DataError(f"{place.uri}: cannot be written: {error.strerror}; choose another place") from error
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            owner = Owner.read(os.read(handle, 4096))
            os.close(handle)
            wait.wait(owner)
            continue
        except OSError as error:
            os.close(handle)
            if error.errno in _NO_LOCKS:
                return None
            raise DataError(f"{place.uri}: cannot be claimed: {error.strerror}; choose another place") from error
        if _is_at(handle, path):
            return handle
        os.close(handle)  # its owner took it away between our opening and locking it


def _say_whose(place: files.Location, handle: int, owner: Owner) -> None:
    """Write the owner into the locked file; where there is no room for that, there is none for the work either."""
    try:
        os.ftruncate(handle, 0)
        os.write(handle, owner.to_bytes())
    except OSError as error:
        why = f"{error.strerror}; make room or choose another place"
        raise DataError(f"{place.uri}: cannot be written: {why}") from error


def _is_at(handle: int, path: str) -> bool:
    with contextlib.suppress(FileNotFoundError):
        there, here = os.stat(path), os.fstat(handle)
        return (there.st_dev, there.st_ino) == (here.st_dev, here.st_ino)
    return False


@contextlib.contextmanager
def _held_on_s3(place: files.Location, owner: Owner, wait: _Wait) -> Iterator[None]:
    claim = _S3Claim(place, owner)
    claim.take(wait)
    guards.guards.append(claim.check)
    ended = threading.Event()
    thread = threading.Thread(target=claim.renew_until, args=(ended,), name="claim", daemon=True)
    thread.start()
    try:
        with _ticketed(Ticket(claim=place.uri + SUFFIX, path=place.path.rstrip("/"), token=owner.token)):
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

    def take(self, wait: _Wait) -> None:
        """Own the object, or raise who does."""
        first: _Found | None = None
        while not self._put(IfNoneMatch="*"):
            found = self._found()
            if found is None:  # given back in this moment
                if wait.seconds > RENEW_SECONDS:
                    wait.wait(None)
                time.sleep(LOOK_SECONDS / 10)
                continue
            if self._is_mine(found) or (found.is_dead and self._put(IfMatch=found.etag)):
                return
            first = first or found
            known = found.owner is not None and found.owner.is_near
            shown = known or found.beat != first.beat or wait.seconds > DEAD_SECONDS + RENEW_SECONDS
            wait.wait(found.owner, unknown=not shown)

    def check(self, path: str) -> None:
        """Raise SupersededError if ``path`` is of what is claimed, which by now is somebody else's.

        The store is asked only where the last renewal was a while ago: this process, or its machine, was stopped then.
        """
        claimed = self.place.path.rstrip("/")
        if path != claimed and not path.startswith((f"{claimed}/", f"{claimed}.")):
            return
        quiet = max(now - then for now, then in zip(_clocks(), self._renewed, strict=True))
        if quiet <= 2 * RENEW_SECONDS or self._renew():
            return
        found = self._found()
        by = "another process" if found is None or found.owner is None else found.owner.name
        raise SupersededError(
            f"{self.place.uri}: was taken over by {by}, as this command was not heard of for {quiet:.0f} s: it is "
            "superseded, and what the other one publishes stands"
        )

    def renew_until(self, ended: threading.Event) -> None:
        """Say that the owner lives; stop saying it when somebody else has the object."""
        while not ended.wait(RENEW_SECONDS):
            with contextlib.suppress(DataError):  # a server that is away now and then
                if not self._renew():
                    return

    def release(self) -> None:
        """Give the object back, unless it is somebody else's by now."""
        with contextlib.suppress(DataError):
            found = self._found()
            if found is not None and found.owner is not None and found.owner.token == self.owner.token:
                self._call("delete_object")

    def _renew(self) -> bool:
        """Say that the owner lives; False if it is no longer the owner."""
        for _ in range(2):
            if self._put(IfMatch=self._etag):
                return True
            found = self._found()
            if found is None or not self._is_mine(found):
                return False
        return True

    def _is_mine(self, found: _Found) -> bool:
        """Whether the object is as this process put it, and only the server's answer was lost."""
        if found.owner is None or found.owner.token != self.owner.token:
            return False
        with self._changing:
            self.owner, self._etag = found.owner, found.etag
        return True

    def _found(self) -> _Found | None:
        answer = self._call("get_object")
        if answer is None:
            return None
        headers = answer["ResponseMetadata"]["HTTPHeaders"]
        now = parsedate_to_datetime(headers["date"]) if "date" in headers else datetime.now(UTC)
        when = answer["LastModified"]
        owner, age = Owner.read(answer["Body"].read()), (now - when).total_seconds()
        return _Found(owner=owner, etag=answer["ETag"], when=when, age=age)

    def _put(self, **condition: str) -> bool:
        """Write the object; False if the condition does not hold."""
        with self._changing:
            if "IfMatch" in condition and self._etag:
                condition = {"IfMatch": self._etag}  # of now: the other thread may have renewed it
            owner, asked = self.owner.renewed(), _clocks()  # before: one may be stopped while it is answered
            answer = self._call("put_object", Body=owner.to_bytes(), **condition)
            if answer is not None:
                self.owner, self._etag, self._renewed = owner, answer["ETag"], asked
            return answer is not None

    def _call(self, name: str, **options: Any) -> Any:
        """Ask the server; None if there is no such object, or it is not as the condition wants it."""
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            return getattr(client_of_now(), name)(**self._where, **options)
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
    when: datetime
    age: float

    @property
    def is_dead(self) -> bool:
        """Whether its owner has ended, or was not heard of for so long that it counts as ended."""
        return self.age > DEAD_SECONDS or (self.owner is not None and self.owner.is_gone)

    @property
    def beat(self) -> tuple[str, datetime]:
        """What changes when it is renewed (one that an older version writes keeps its bytes)."""
        return self.etag, self.when
