"""Many small files, each read whole: on S3 one request for each, where to open one asks for its size first."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import pyarrow.fs as pafs

from raybench.errors import DataError
from raybench.storage import files, refusals
from raybench.storage.s3_client import CONNECTIONS, READ_SECONDS, as_arrow_says, client_of_now

READERS = CONNECTIONS  # side by side: on S3 each is a round trip
PAUSES = (0.2, 0.8)  # before an answer that was cut short is asked for again
_MISSING = ("NoSuchKey", "404")
T = TypeVar("T")


def read_each(uris: Sequence[str], take: Callable[[str, bytes], T]) -> Iterator[T]:
    """What ``take`` makes of the address and the content of each file, in order; DataError if one cannot be read."""
    with ThreadPoolExecutor(READERS) as pool:
        yield from pool.map(lambda uri: take(uri, read_whole(uri)), uris)


def read_whole(uri: str, fits: Callable[[int], None] = lambda size: None) -> bytes:
    """The content of one file; ``fits`` is told its size before it is read, and may raise."""
    place = files.open_location(uri)
    if not isinstance(place.fs, pafs.S3FileSystem):
        with files.open_input(uri) as stream:
            fits(stream.size())
            return bytes(stream.read())
    from botocore.exceptions import BotoCoreError, ClientError, ConnectTimeoutError, ReadTimeoutError

    bucket, _, key = place.path.partition("/")
    for pause in (*PAUSES, None):
        try:
            answer = client_of_now(READ_SECONDS).get_object(Bucket=bucket, Key=key)
            fits(int(answer["ContentLength"]))
            return bytes(answer["Body"].read())
        except ClientError as error:  # asked again by the client itself where that helps
            if error.response["Error"]["Code"] in _MISSING:
                raise DataError(f"{place.uri}: there is no such file") from None
            raise DataError(refusals.said_of(place.uri, as_arrow_says(error.response["Error"], "GetObject"))) from error
        except BotoCoreError as error:
            if pause is None or isinstance(error, ReadTimeoutError | ConnectTimeoutError):  # the client has waited
                said = {"Code": type(error).__name__, "Message": str(error)}
                raise DataError(refusals.said_of(place.uri, as_arrow_says(said, "GetObject"))) from error
            time.sleep(pause)
    raise AssertionError("the last try returns or raises")


def code_of_reading(uri: str) -> str:
    """The code with which the store refuses to read ``uri``; empty where it does not, or does not say why.

    The answer to a question about a file has no body, and so no code; that to a request for its first byte has one.
    """
    from botocore.exceptions import BotoCoreError, ClientError

    bucket, _, key = files.open_location(uri).path.partition("/")
    try:
        client_of_now(READ_SECONDS).get_object(Bucket=bucket, Key=key or "-", Range="bytes=0-0")
    except ClientError as error:
        code = str(error.response["Error"].get("Code", ""))
        return "" if code in _MISSING or code.isdigit() else refusals.spelt(code)
    except BotoCoreError:
        return ""
    return ""
