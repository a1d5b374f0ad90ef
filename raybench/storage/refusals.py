"""Why an object store did not do what it was asked: credentials, a bucket that is not there, nobody who answers.

Of what the client says only the code is kept where it is about credentials: the rest may name them.
"""

from __future__ import annotations

import re
from typing import Any

import pyarrow as pa
import pyarrow.fs as pafs

from raybench.errors import DataError

ATTEMPTS = 4
"""Of each request, with longer and longer pauses between: a server that restarts is waited for some seconds."""

_CODE = re.compile(r"AWS Error ([A-Z_]+)")
_UNKNOWN_HERE = re.compile(r"ExceptionName: (\w+)")  # a code that the client has no name for
_WITHOUT_A_WORD = re.compile(r"[Nn]o response body")  # the answer to a HEAD: its status is all that there is
_CREDENTIALS = re.compile(r"ACCESS_DENIED|ACCESS_KEY|SIGNATURE|TOKEN|CREDENTIALS|UNRECOGNIZED_CLIENT")


def said_of(uri: str, error: BaseException) -> str:
    """One line on why ``uri`` cannot be reached."""
    text = " ".join(str(error).split())
    code = _code_of(text)
    if _WITHOUT_A_WORD.search(text):
        from raybench.storage.whole import code_of_reading  # above this module

        code = code_of_reading(uri) or code
    if _CREDENTIALS.search(code):
        return (
            f"{uri}: the store refuses the credentials ({code}): they are wrong, have expired, or do not allow this; "
            "see AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN, or the profile that is used"
        )
    if code == "REQUEST_TIME_TOO_SKEWED":
        return f"{uri}: the store refuses the clock of this machine ({code}); set it by a time server"
    if code == "NO_SUCH_BUCKET":
        return no_bucket(uri)
    tried = f" (tried {ATTEMPTS} times)" if code and "HTTP status 4" not in text else ""
    return f"{uri}: cannot be reached{tried}: {text}"


def _code_of(text: str) -> str:
    """The store's code in what pyarrow's file system says, in its spelling."""
    if unknown := _UNKNOWN_HERE.search(text):
        return spelt(unknown[1])
    found = _CODE.search(text)
    return "" if found is None else found[1]


def spelt(code: str) -> str:
    """A code of the store as pyarrow's file system spells it: NoSuchBucket is NO_SUCH_BUCKET there."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", code).upper()


def no_bucket(uri: str) -> str:
    """What to say where a bucket is not there."""
    return f"{uri}: there is no bucket {bucket_of(uri)}; make it, or change the address"


def bucket_of(uri: str) -> str:
    """The bucket of an address ``s3://bucket/key``."""
    return uri.partition("://")[2].partition("/")[0]


def require_bucket(fs: Any, uri: str) -> None:
    """DataError if the bucket of an address is not there; one that was there once is not asked for again."""
    bucket = bucket_of(uri)
    if bucket in _there:
        return
    try:
        missing = fs.get_file_info(bucket).type == pafs.FileType.NotFound
    except (OSError, pa.ArrowException):  # who may not ask for buckets may still read in them
        missing = False
    if missing:
        raise DataError(no_bucket(uri))
    _there.add(bucket)


_there: set[str] = set()
