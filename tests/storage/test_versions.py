"""Replacing only what one has seen: on a disk and on S3, where nothing was, and where something else is by now."""

from __future__ import annotations

import errno
import os
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from raybench.storage import files, s3_client
from raybench.storage.versions import ABSENT, OtherVersionError, version, versions

WHERE = pytest.mark.parametrize("where", ["disk", pytest.param("s3", marks=pytest.mark.slow)])


@pytest.fixture
def place(where: str, tmp_path: Path, request: pytest.FixtureRequest) -> str:
    if where == "disk":
        return str(tmp_path / "data")
    return f"{request.getfixturevalue('server')}/{uuid.uuid4().hex}"


def put(uri: str, data: bytes, over: str) -> bool:
    try:
        files.publish_bytes(uri, data, over=over)
    except OtherVersionError:
        return False
    return True


@WHERE
def test_what_was_not_there_is_put_once(place: str) -> None:
    uri = f"{place}/file"
    assert version(uri) == ABSENT
    assert put(uri, b"first", ABSENT)
    with pytest.raises(OtherVersionError, match=f"^{uri}: somebody else has written it since; what is there stays$"):
        files.publish_bytes(uri, b"second", over=ABSENT)
    assert files.read_bytes(uri) == b"first"
    assert list(files.sizes(place)) == ["file"]


@WHERE
def test_what_was_seen_is_replaced_and_nothing_else(place: str) -> None:
    uri = f"{place}/part/file"
    files.publish_bytes(uri, b"old")
    files.publish_bytes(f"{place}/other", b"other")
    seen = versions(place)
    assert seen == {"part/file": version(uri), "other": version(f"{place}/other")}
    assert put(uri, b"new", seen["part/file"])
    assert not put(uri, b"late", seen["part/file"])
    assert files.read_bytes(uri) == b"new"
    files.remove(uri)
    assert not put(uri, b"late", seen["part/file"])
    assert not files.exists(uri)
    assert versions(f"{place}/nowhere") == {}


@WHERE
def test_of_many_who_put_the_same_name_one_does(place: str) -> None:
    with ThreadPoolExecutor(8) as pool:
        done = list(pool.map(lambda k: put(f"{place}/file", b"%d" % k, ABSENT), range(8)))
    assert sum(done) == 1
    assert files.read_bytes(f"{place}/file") == b"%d" % done.index(True)
    assert list(files.sizes(place)) == ["file"]


def test_a_disk_on_which_a_file_has_one_name_only_is_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def link(*_: Any) -> None:
        raise OSError(errno.EPERM, "no")

    monkeypatch.setattr(os, "link", link)
    assert put(str(tmp_path / "file"), b"first", ABSENT)
    assert not put(str(tmp_path / "file"), b"second", ABSENT)
    assert (tmp_path / "file").read_bytes() == b"first"
    assert os.listdir(tmp_path) == ["file"]


class Refusing:
    """A server that does not know conditions and says so."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}

    def put_object(self, *, Bucket: str, Key: str, Body: bytes, **condition: str) -> None:
        from botocore.exceptions import ClientError

        if condition:
            raise ClientError({"Error": {"Code": "NotImplemented", "Message": "a header"}}, "PutObject")
        self.objects[Key] = Body

    def head_object(self, *, Bucket: str, Key: str) -> dict[str, str]:
        from botocore.exceptions import ClientError

        if Key not in self.objects:
            raise ClientError({"Error": {"Code": "404", "Message": "Not Found"}}, "HeadObject")
        return {"ETag": str(hash(self.objects[Key]))}


def test_a_server_that_refuses_conditions_is_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    there = Refusing()
    monkeypatch.setattr(s3_client, "client_of_now", lambda *seconds: there)
    assert s3_client.put_over("bucket/file", b"first", "")
    assert not s3_client.put_over("bucket/file", b"second", "")
    assert s3_client.put_over("bucket/file", b"second", s3_client.tag_of("bucket/file"))
    assert there.objects == {"file": b"second"}
