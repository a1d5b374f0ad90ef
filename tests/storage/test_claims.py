"""One writer of a folder at a time, on a disk and on S3; a writer that died holds nothing."""

from __future__ import annotations

import errno
import os
import pickle
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from raybench.errors import DataError
from raybench.storage import claims, files
from raybench.storage.owners import Owner

HOLD = """
import sys, time
from raybench.storage.claims import held
with held(sys.argv[1], what='import'):
    print('held', flush=True)
    time.sleep(60)
"""


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


@WHERE
def test_a_killed_writer_holds_nothing(
    where: str, tmp_path: Path, request: pytest.FixtureRequest, holder: list[subprocess.Popen[str]]
) -> None:
    uri = folder(where, tmp_path, request)
    process = hold(uri, holder)
    began = time.monotonic()
    with pytest.raises(DataError, match=f"process {process.pid} "), claims.held(uri, what="train"):
        pass
    process.kill()
    process.wait()
    with claims.held(uri, what="train"):
        assert files.exists(uri + ".claim")
        assert os.listdir(tmp_path) == ["folder.claim"] * (where == "disk")
    assert time.monotonic() - began < 10
    assert os.listdir(tmp_path) == []


@WHERE
def test_one_that_is_waited_for_is_told_of_once(
    where: str, tmp_path: Path, request: pytest.FixtureRequest, holder: list[subprocess.Popen[str]]
) -> None:
    uri, said = folder(where, tmp_path, request) + "-awaited", list[str]()
    process = hold(uri, holder)
    with pytest.raises(claims.TakenError, match="after 1 s still"), claims.held(uri, what="daily", patience=1):
        pass
    ends = threading.Timer(1, process.kill)
    ends.start()
    with claims.held(uri, what="daily", patience=60, say=said.append):
        assert not ends.is_alive()
    assert len(said) == 1
    assert f"waiting for `raybench import` (process {process.pid} on " in said[0]


def hold_elsewhere(uri: str, holder: list[subprocess.Popen[str]], *, renews: float) -> subprocess.Popen[str]:
    """A holder of whom nobody here can see whether it lives, as one in another pod."""
    change = "from raybench.storage import claims, owners\nowners._space = lambda: 'another boot'\n"
    code = f"{change}claims.RENEW_SECONDS = {renews}\n{HOLD}"
    process = subprocess.Popen([sys.executable, "-c", code, uri], stdout=subprocess.PIPE, text=True)
    holder.append(process)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


@pytest.mark.slow
def test_one_of_another_machine_that_died_is_waited_for(
    server: str, monkeypatch: pytest.MonkeyPatch, holder: list[subprocess.Popen[str]]
) -> None:
    monkeypatch.setattr(claims, "DEAD_SECONDS", 4.0)
    monkeypatch.setattr(claims, "LOOK_SECONDS", 0.2)
    uri, said = server + "-dead", list[str]()
    hold_elsewhere(uri, holder, renews=1000).kill()
    with claims.held(uri, what="train", say=said.append):
        pass
    assert len(said) == 1
    assert "to end, or to be found dead" in said[0]


@pytest.mark.slow
def test_one_of_another_machine_that_lives_is_told_of_once_it_has_renewed(
    server: str, monkeypatch: pytest.MonkeyPatch, holder: list[subprocess.Popen[str]]
) -> None:
    monkeypatch.setattr(claims, "LOOK_SECONDS", 0.2)
    uri = server + "-lives"
    process = hold_elsewhere(uri, holder, renews=1.5)
    began = time.monotonic()
    with pytest.raises(claims.TakenError, match=f"process {process.pid} on"), claims.held(uri, what="train"):
        pass
    assert time.monotonic() - began < 20


@pytest.mark.slow
def test_of_a_renewal_and_a_takeover_one_has_it(server: str) -> None:
    """The one that wakes up renews between the other's look and its taking: it is not taken over."""
    place = files.open_location(server + "-race")
    old, new = (claims._S3Claim(place, Owner.me(what)) for what in ("train", "import"))
    assert old._put(IfNoneMatch="*")
    found = new._found()
    assert found is not None
    assert old._renew()
    assert not new._put(IfMatch=found.etag)
    old._etag = found.etag  # as where the server's answer to a renewal was lost
    assert old._renew()
    found = new._found()
    assert found is not None
    assert new._put(IfMatch=found.etag)
    assert not old._renew()
    old.release()
    assert new._renew()
    new.release()
    assert new._found() is None


@WHERE
def test_a_worker_knows_whether_the_one_it_works_for_has_the_claim(
    where: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    uri = folder(where, tmp_path, request) + "-worked-on"
    assert claims.ticket_of(uri) is None
    with claims.held(uri, what="tune"):
        ticket = pickle.loads(pickle.dumps(claims.ticket_of(f"{uri}/trials/0001")))
        assert ticket == claims.ticket_of(uri)
        assert claims.ticket_of(uri + "2") is None
        ticket.check()
    with pytest.raises(claims.SupersededError, match=f"^{uri}: was given back while"):
        ticket.check()
    with claims.held(uri, what="import"):
        told = rf"^{uri}: was taken over by `raybench import` \(process {os.getpid()} on .* is superseded"
        with pytest.raises(claims.SupersededError, match=told):
            ticket.check()


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
from raybench.storage.owners import Owner
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


def test_a_claim_that_a_full_disk_has_no_room_for_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "write", full)
    with (
        pytest.raises(DataError, match=r"run: cannot be written: No space left on device; make room"),
        claims.held(tmp_path / "run", what="train"),
    ):
        pass
    assert os.listdir(tmp_path) == []
