"""A folder or s3:// address: whether files can be published, read, replaced, claimed and removed there."""

from __future__ import annotations

import contextlib
import os
import time
import uuid
from collections.abc import Iterator

from raybench.cluster.health.outcome import Outcome, well, wrong
from raybench.errors import DataError
from raybench.storage import files
from raybench.storage.claims import held

BYTES = 1 << 20
ADVICE = "choose another place, or see who may write there"
_S3_ADVICE = "look at AWS_ENDPOINT_URL, AWS_REGION, AWS_ACCESS_KEY_ID and what the key may do in that bucket"


def place_works(uri: str) -> Outcome:
    """Publish a file, read it, replace it, list it, claim its folder once and not twice, and remove all of it."""
    place = files.open_location(uri)
    name = f"place {place.uri}"
    advice = ADVICE if place.local else _S3_ADVICE
    folder = files.join(place.uri, f"raybench-doctor-{uuid.uuid4().hex[:8]}")
    with _as_it_was(place, folder):
        began = time.monotonic()
        problem = _problem(folder)
        seconds = time.monotonic() - began
    if problem:
        return wrong(name, problem, advice, uri=place.uri)
    if left := files.children(folder):
        return wrong(name, f"{left[0]} in {folder} could not be removed", advice, uri=place.uri)
    said = f"writes, replaces, locks and removes 1 MB in {seconds:.2f} s"
    return well(name, said, uri=place.uri, round_seconds=round(seconds, 3))


def _problem(folder: str) -> str:
    """Say what does not work; empty if all does."""
    file, first, second = files.join(folder, "file"), os.urandom(BYTES), os.urandom(BYTES)
    try:
        for step, data in (("written", first), ("replaced", second)):
            files.publish_bytes(file, data)
            if files.read_bytes(file) != data:
                return f"a file that was {step} holds something else than was written"
        if files.children(folder) != ["file"]:
            return f"a folder of one file lists {', '.join(files.children(folder)) or 'nothing'}"
        if not _keeps_others_out(folder):
            return "two commands could write the same folder at once: there are no locks, or no conditional writes"
        files.remove(file)
        if files.exists(file):
            return "a file that was removed is there still"
    except DataError as error:
        return " ".join(str(error).split())
    return ""


def _keeps_others_out(folder: str) -> bool:
    with held(folder, what="doctor"):
        try:
            with held(folder, what="doctor"):
                return False
        except DataError:
            return True


@contextlib.contextmanager
def _as_it_was(place: files.Location, folder: str) -> Iterator[None]:
    """Remove what was put there, and the folders above it that were not there before.

    An object store has no folders, but where there was none it may show one after what was in it is gone.
    """
    made = list(_missing(place.uri))
    try:
        yield
    finally:
        for uri in (folder, *made):
            with contextlib.suppress(OSError, DataError):  # not made
                if uri == folder or not files.sizes(uri):  # nobody put something in meanwhile
                    files.discard(uri)


def _missing(uri: str) -> Iterator[str]:
    """The folder and those above it that are not there, the innermost first."""
    while not files.exists(uri):
        yield uri
        uri = uri.rpartition("/")[0]
        if not uri or uri.endswith("/"):
            return
