"""Which cluster is joined: an address that is wrong or dead is told within seconds, in one line."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent import futures
from pathlib import Path

import grpc
import pytest
import ray
from ray.core.generated.gcs_service_pb2 import CheckAliveReply, CheckAliveRequest

from raybench.cli.app import run
from raybench.cluster import address as module
from raybench.cluster.address import LOCAL, ask, check_named, cluster_address
from raybench.errors import ResourceError
from tests.notes import Notes


@pytest.fixture
def silent_port() -> Iterator[int]:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener.getsockname()[1]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Ray's folder, in which ``ray start`` leaves its address."""
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    (tmp_path / "ray").mkdir()
    return tmp_path / "ray"


def dead_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def head(version: str = ray.__version__, code: grpc.StatusCode | None = None) -> Iterator[str]:
    """A head that knows nothing but to say that it lives."""

    def answer(request: CheckAliveRequest, context: grpc.ServicerContext) -> CheckAliveReply:
        if code is not None:
            context.abort(code, "no")
        return CheckAliveReply(ray_version=version)

    handler = grpc.unary_unary_rpc_method_handler(
        answer, CheckAliveRequest.FromString, CheckAliveReply.SerializeToString
    )
    server = grpc.server(futures.ThreadPoolExecutor(1))
    service = grpc.method_handlers_generic_handler("ray.rpc.NodeInfoGcsService", {"CheckAlive": handler})
    server.add_generic_rpc_handlers((service,))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield f"127.0.0.1:{port}"
    server.stop(None)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("http://127.0.0.1:8265", "ray job submit"),
        ("https://head", "ray job submit"),
        ("ray://head:10001", "Ray Client"),
        ("head", "want HOST:PORT"),
        (":6379", "want HOST:PORT"),
        ("127.0.0.1:99999", "want HOST:PORT"),
        ("127.0.0.1:port", "want HOST:PORT"),
        ("redis://head:6379", "want HOST:PORT"),
        ("no host:6379", "want HOST:PORT"),
        ("auto", "no Ray cluster runs"),
    ],
)
def test_an_address_that_cannot_be_joined(given: str, said: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", given)
    with pytest.raises(ResourceError, match=said) as caught:
        cluster_address()
    assert "RAY_ADDRESS" in str(caught.value)


def test_a_dead_address_is_told_at_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", f"127.0.0.1:{dead_port()}")
    began = time.monotonic()
    with pytest.raises(ResourceError, match="connection refused"):
        cluster_address()
    assert time.monotonic() - began < module.CONNECT_SECONDS


STRANGERS = {"says nothing": b"", "speaks HTTP": b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"}


@pytest.mark.parametrize("what", STRANGERS)
def test_what_is_no_head_is_told_before_anything_is_loaded(what: str) -> None:
    """In a process of its own: what it loads and how long it takes are part of the answer."""
    code = (
        "import sys; from raybench.cluster import address; address.ANSWER_SECONDS = 1.0\n"
        "try: address.check_named()\n"
        "except address.ResourceError as error: print(error)\n"
        "print({'ray', 'torch'} & {*sys.modules})"
    )
    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=_answer_all, args=(listener, STRANGERS[what]), daemon=True).start()
        environment = {**os.environ, "RAY_ADDRESS": f"127.0.0.1:{listener.getsockname()[1]}"}
        done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    told, loaded = done.stdout.splitlines()
    assert "answers, but not as the head of a Ray cluster does" in told
    assert loaded == "set()"


def _answer_all(listener: socket.socket, answer: bytes) -> None:
    held = []
    with contextlib.suppress(OSError):
        while True:
            client, _ = listener.accept()
            held.append(client)
            if answer:
                client.sendall(answer)
                client.shutdown(socket.SHUT_WR)


@pytest.mark.parametrize("code", [None, grpc.StatusCode.UNAUTHENTICATED])
def test_a_head_is_taken_for_one_whatever_it_says_of_the_token(
    code: grpc.StatusCode | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for address in head(code=code):
        monkeypatch.setenv("RAY_ADDRESS", address)
        check_named()


@pytest.mark.parametrize("command", ["train", "score", "features", "demo", "explain"])
def test_a_command_asks_before_it_loads_anything(
    command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = {
        "train": ["configs/gru_alpha158.yaml", "--out", "run"],
        "score": ["--model", "run", "--bars", "bars", "--to", "scores"],
        "features": ["--bars", "bars", "--to", "features"],
        "demo": ["--out", "demo"],
        "explain": ["--model", "run", "--date", "2020-01-02", "--out", "why"],
    }
    monkeypatch.setenv("RAY_ADDRESS", f"127.0.0.1:{dead_port()}")
    assert run([command, *words[command]]) == 2
    assert "connection refused" in capsys.readouterr().err


def test_asking_loads_neither_ray_nor_torch() -> None:
    code = "import sys; from raybench.cluster.address import check_named; check_named()"
    code += "; print({'ray', 'torch'} & {*sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == "set()\n"


def test_a_port_that_says_nothing(silent_port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ANSWER_SECONDS", 0.3)
    assert "not as the head" in ask(f"127.0.0.1:{silent_port}").problem


def test_a_name_that_takes_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CONNECT_SECONDS", 0.1)

    def looks_up(*_: object) -> None:
        time.sleep(2)
        raise OSError

    monkeypatch.setattr(socket, "create_connection", looks_up)
    assert "nothing came back" in ask("head.far:6379").problem


def test_a_living_head_is_joined(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for address in head():
        (folder / "ray_current_cluster").write_text(address + "\n")
        assert cluster_address() == address
        monkeypatch.setenv("RAY_ADDRESS", address)
        assert cluster_address() == address


def test_a_stale_address_file_is_ignored(folder: Path) -> None:
    (folder / "ray_current_cluster").write_text(f"127.0.0.1:{dead_port()}")
    notes = Notes()
    assert cluster_address(progress=notes) == LOCAL
    assert "ignored" in notes.lines[0]


def test_one_that_did_not_answer_is_not_asked_again_by_the_same_command(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A port that takes a connection and stays silent costs seconds each time."""
    (folder / "ray_current_cluster").write_text(f"127.0.0.1:{dead_port()}")
    assert cluster_address() == LOCAL
    asked, notes = list[str](), Notes()

    def answers(at: str) -> module.Answer:
        asked.append(at)
        return module.Answer()

    monkeypatch.setattr(module, "ask", answers)
    assert cluster_address(progress=notes) == LOCAL
    assert (asked, notes.lines) == ([], [])
    module._silent_until.clear()  # as after some time
    cluster_address()
    assert len(asked) == 1


@pytest.mark.parametrize("text", [b"", b"\xff\xfe", b"garbage"])
def test_an_address_file_with_anything_in_it(folder: Path, text: bytes) -> None:
    (folder / "ray_current_cluster").write_bytes(text)
    assert cluster_address() == LOCAL


@pytest.mark.parametrize(
    ("version", "code", "said"),
    [("1.0.0", None, "runs Ray 1.0.0"), (ray.__version__, grpc.StatusCode.UNAUTHENTICATED, "RAY_AUTH_TOKEN")],
)
def test_a_cluster_of_others(
    version: str, code: grpc.StatusCode | None, said: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for address in head(version, code):
        (folder / "ray_current_cluster").write_text(address)
        with pytest.raises(ResourceError, match=f"{said}.*RAY_ADDRESS=local"):
            cluster_address()
        monkeypatch.setenv("RAY_ADDRESS", address)
        with pytest.raises(ResourceError, match=said):
            cluster_address()
        monkeypatch.setenv("RAY_ADDRESS", "local")
        assert cluster_address() == LOCAL
