"""A real S3 server for the tests of this folder that want one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import pytest

from tests.cluster.s3_server import BUCKET, lent


@pytest.fixture(scope="session")
def s3_environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mapping[str, str]]:
    """A server on this machine: the environment that leads to its bucket."""
    yield from lent(tmp_path_factory)


@pytest.fixture
def server(s3_environment: Mapping[str, str], monkeypatch: pytest.MonkeyPatch) -> str:
    """An address on it, to which this process knows the way."""
    for name, value in s3_environment.items():
        monkeypatch.setenv(name, value)
    return f"s3://{BUCKET}/folder"
