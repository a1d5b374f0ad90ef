"""S3: the file system of pyarrow, and what that does not do, through botocore: conditions, a content in one request."""

from __future__ import annotations

import functools
import os
import time
from collections.abc import Mapping
from typing import Any

import pyarrow.fs as pafs

from raybench.storage import refusals

CONNECTIONS = 16
READ_SECONDS, WRITE_SECONDS = 6, 10
"""Until an answer has to begin; three times again, and what a file system asks beside it, are below a minute in all."""
PAUSES = (0.2, 0.8)  # before what another request was in the way of is asked again
_OTHERWISE = ("PreconditionFailed", "412", "NoSuchKey", "404")
_IN_THE_WAY = ("ConditionalRequestConflict", "409")
_UNKNOWN = ("NotImplemented", "501")


@functools.lru_cache(maxsize=8)  # opening one asks the network for the region
def file_system(endpoint: str, region: str | None) -> Any:
    """The file system of pyarrow at an endpoint (empty: Amazon's); credentials as it finds them."""
    scheme, separator, host = endpoint.partition("://")
    options: dict[str, Any] = {"region": region} if region else {}
    if endpoint:
        options |= {"endpoint_override": (host if separator else endpoint).rstrip("/")}
        options |= {"scheme": scheme if separator else "https", "region": region or "us-east-1"}
    tries = pafs.AwsStandardS3RetryStrategy(max_attempts=refusals.ATTEMPTS)
    return pafs.S3FileSystem(allow_delayed_open=True, retry_strategy=tries, **options)


@functools.lru_cache(maxsize=4)
def client(endpoint: str | None, answer_seconds: int = WRITE_SECONDS) -> Any:
    """A client for what pyarrow's file system does not do; credentials as botocore finds them."""
    import botocore.session
    from botocore.config import Config

    options = Config(
        connect_timeout=5,
        read_timeout=answer_seconds,
        retries={"max_attempts": 3, "mode": "standard"},
        max_pool_connections=CONNECTIONS,
        s3={"addressing_style": "path"} if endpoint else {},
    )
    region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or ("us-east-1" if endpoint else None)
    return botocore.session.get_session().create_client("s3", region_name=region, endpoint_url=endpoint, config=options)


def client_of_now(answer_seconds: int = WRITE_SECONDS) -> Any:
    """The client of the endpoint that the environment names."""
    return client(os.environ.get("AWS_ENDPOINT_URL"), answer_seconds)


def as_arrow_says(error: Mapping[str, str], operation: str) -> OSError:
    """The error that pyarrow's file system raises of the same."""
    code = refusals.spelt(error.get("Code", "UNKNOWN"))
    code = {"403": "ACCESS_DENIED"}.get(code, code)  # where an answer has no body
    return OSError(f"AWS Error {code} during {operation} operation: {error.get('Message', '')}")


def put_over(path: str, data: bytes, tag: str) -> bool:
    """Put an object in the place of the one of this ``tag``, or where there is none if it is empty.

    False if something else is there. One request. A server that refuses conditions is asked what is there before; one
    that takes no notice of them keeps nothing.
    """
    condition = {"IfMatch": tag} if tag else {"IfNoneMatch": "*"}
    for pause in (*PAUSES, None):
        code = _put(path, data, condition)
        if code in _UNKNOWN:
            return tag_of(path) == tag and _put(path, data, {}) == ""
        if code not in _IN_THE_WAY:
            return code == ""
        if pause is not None:
            time.sleep(pause)
    return False


def _put(path: str, data: bytes, condition: Mapping[str, str]) -> str:
    """Empty, or the code of the server where the condition is why it did not."""
    from botocore.exceptions import BotoCoreError, ClientError

    bucket, _, key = path.partition("/")
    try:
        client_of_now().put_object(Bucket=bucket, Key=key, Body=data, **condition)
    except ClientError as error:
        code = str(error.response["Error"]["Code"])
        if condition and code in (*_OTHERWISE, *_IN_THE_WAY, *_UNKNOWN):
            return code
        raise as_arrow_says(error.response["Error"], "PutObject") from error
    except BotoCoreError as error:
        raise as_arrow_says({"Code": type(error).__name__, "Message": str(error)}, "PutObject") from error
    return ""


def tag_of(path: str) -> str:
    """The tag of an object; empty if there is none."""
    from botocore.exceptions import BotoCoreError, ClientError

    bucket, _, key = path.partition("/")
    try:
        return str(client_of_now(READ_SECONDS).head_object(Bucket=bucket, Key=key)["ETag"])
    except ClientError as error:
        if str(error.response["Error"]["Code"]) in _OTHERWISE:
            return ""
        raise as_arrow_says(error.response["Error"], "HeadObject") from error
    except BotoCoreError as error:
        raise as_arrow_says({"Code": type(error).__name__, "Message": str(error)}, "HeadObject") from error


def tags_below(path: str) -> dict[str, str]:
    """The tag of each object below a folder, by its name there: one request for a thousand of them."""
    from botocore.exceptions import BotoCoreError, ClientError

    bucket, _, key = path.rstrip("/").partition("/")
    prefix = f"{key}/" if key else ""
    try:
        pages = client_of_now(READ_SECONDS).get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
        found = [each for page in pages for each in page.get("Contents", ())]
    except ClientError as error:
        raise as_arrow_says(error.response["Error"], "ListObjectsV2") from error
    except BotoCoreError as error:
        raise as_arrow_says({"Code": type(error).__name__, "Message": str(error)}, "ListObjectsV2") from error
    return {str(each["Key"]).removeprefix(prefix): str(each["ETag"]) for each in found}
