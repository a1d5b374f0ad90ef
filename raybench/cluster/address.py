"""Which Ray cluster a command joins, found out and asked before Ray connects: Ray itself waits for minutes.

``RAY_ADDRESS`` names a cluster, and one that does not answer is an error. Without it the last ``ray start`` of this
machine is joined, if it still answers: Ray leaves its address behind when it is killed.
"""

from __future__ import annotations

import os
import re
import socket
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from raybench.errors import ResourceError
from raybench.progress import SILENT, Progress

CONNECT_SECONDS = 4.0  # until a port has to answer
ANSWER_SECONDS = 6.0  # until the head has to
ALONE = "or unset RAY_ADDRESS to run on this machine alone"
SILENT_SECONDS = 20.0  # for which one that did not answer is not asked again: a command looks more than once
LOCAL = "local"  # what ray.init calls a cluster of its own

_ALIVE = "/ray.rpc.NodeInfoGcsService/CheckAlive"
_HOST_AND_PORT = re.compile(r"(\[(?P<v6>[0-9a-fA-F:.%]+)\]|(?P<host>[^\s:/@\[\]]+)):(?P<port>\d{1,5})")


_silent_until: dict[str, float] = {}
"""Addresses that ``ray start`` left behind, by when they may be asked again (``time.monotonic``)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What came back from an address: ``problem`` says why it cannot be joined, and is empty if it can.

    ``foreign``: a Ray cluster lives there, but not one that this process may or can join.
    """

    problem: str = ""
    foreign: bool = False


def cluster_address(*, progress: Progress = SILENT) -> str:
    """Return the address of the cluster to join, or ``local`` to start one: an answer takes seconds at most.

    ResourceError if RAY_ADDRESS is malformed or nobody answers there.
    """
    given = os.environ.get("RAY_ADDRESS", "").strip()
    if given and given != "auto":
        return LOCAL if given == LOCAL else _asked(given)
    file = _address_file()
    address = _read(file)
    if address and time.monotonic() >= _silent_until.get(address, 0.0):
        _use_token_at_hand()
        answer = ask(address)
        if not answer.problem:
            return address
        if answer.foreign:
            raise ResourceError(
                f"the Ray cluster at {address}, the last `ray start` of this machine ({file}), {answer.problem}, "
                "or set RAY_ADDRESS=local to run without it"
            )
        _silent_until[address] = time.monotonic() + SILENT_SECONDS
        progress.note(f"{file} names a Ray cluster at {address} that {answer.problem}: ignored")
    if given:
        raise ResourceError(f"RAY_ADDRESS is auto, but no Ray cluster runs on this machine; start one, {ALONE}")
    return LOCAL


def check_named() -> None:
    """Refuse a RAY_ADDRESS that is malformed, where nobody listens, or where something else answers; ResourceError.

    For the beginning of a command: it loads no Ray and no torch, which takes seconds, and many more on a machine that
    is busy. Whether the cluster may be joined is asked when it is.
    """
    given = os.environ.get("RAY_ADDRESS", "").strip()
    if given in ("", "auto", LOCAL):
        return
    match = _check_form(given)
    problem = _connect(match["v6"] or match["host"], int(match["port"]))
    _refuse(given, Answer(problem=problem) if problem else _bare_health(given))


def _asked(given: str) -> str:
    """Return the address that RAY_ADDRESS names, once its head has answered."""
    _check_form(given)
    _refuse(given, ask(given))
    return given


def _refuse(given: str, answer: Answer) -> None:
    if answer.foreign:
        raise ResourceError(f"RAY_ADDRESS is {given}: the Ray cluster there {answer.problem}, {ALONE}")
    if answer.problem:
        raise ResourceError(f"RAY_ADDRESS is {given}, which {answer.problem}; start the cluster, {ALONE}")


def _check_form(given: str) -> re.Match[str]:
    want = "want HOST:PORT of the head, such as 127.0.0.1:6379"
    scheme, found, _ = given.partition("://")
    if found and scheme in ("http", "https"):
        raise ResourceError(
            f"RAY_ADDRESS is {given}, the address of a dashboard, which `ray job submit` reads; {want}, "
            f"or submit this command with `ray job submit`, {ALONE}"
        )
    if found and scheme == "ray":
        raise ResourceError(
            f"RAY_ADDRESS is {given}, an address of Ray Client, which cannot run trainings; {want}, from a machine of "
            f"the cluster, or submit this command with `ray job submit`, {ALONE}"
        )
    match = _HOST_AND_PORT.fullmatch(given)
    if match is None or not 0 < int(match["port"]) < 65536:
        raise ResourceError(f"RAY_ADDRESS is {given!r}; {want}, {ALONE}")
    return match


def ask(address: str) -> Answer:
    """Ask the head at HOST:PORT whether it lives, within ``CONNECT_SECONDS`` + ``ANSWER_SECONDS``."""
    match = _HOST_AND_PORT.fullmatch(address)
    if match is None:
        return Answer(problem="is no HOST:PORT")
    problem = _connect(match["v6"] or match["host"], int(match["port"]))
    return Answer(problem=problem) if problem else _health(address)


def reaches(host: str, port: int) -> bool:
    """Whether somebody listens there; a machine that is gone is told from one that is busy in some seconds."""
    return not _connect(host, port)


def _connect(host: str, port: int) -> str:
    """Open a connection and close it; say what went wrong. In a thread: names may take long to be looked up."""
    found: list[str] = []

    def connect() -> None:
        try:
            socket.create_connection((host, port), CONNECT_SECONDS).close()
            found.append("")
        except (OSError, UnicodeError, OverflowError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            found.append(f"does not answer ({reason.lower()})")

    thread = threading.Thread(target=connect, name="ray-address", daemon=True)
    thread.start()
    thread.join(CONNECT_SECONDS + 0.5)
    return found[0] if found else f"does not answer (nothing came back in {CONNECT_SECONDS:g} s)"


def _bare_health(address: str) -> Answer:
    """Ask the head's health service with empty hands, without Ray: whether the token is right is not told."""
    if os.environ.get("RAY_USE_TLS", "").lower() in ("1", "true"):  # its certificates are Ray's to read
        return Answer()
    try:
        import grpc  # type: ignore[import-untyped]
    except ImportError:
        return Answer()
    with grpc.insecure_channel(address, [("grpc.enable_http_proxy", 0)]) as channel:
        try:
            channel.unary_unary(_ALIVE)(b"", timeout=ANSWER_SECONDS)
        except grpc.RpcError as error:
            answer = _refusal(error)
            return Answer() if answer.foreign else answer
    return Answer()


def _health(address: str) -> Answer:
    """Ask the head's own health service, which any Ray has; without the means to ask it is taken as living."""
    try:
        import grpc
        from ray._private.grpc_utils import init_grpc_channel
        from ray.core.generated.gcs_service_pb2 import CheckAliveRequest  # type: ignore[attr-defined]
        from ray.core.generated.gcs_service_pb2_grpc import NodeInfoGcsServiceStub
    except ImportError:
        return Answer()
    channel = init_grpc_channel(address, [("grpc.enable_http_proxy", 0)])
    try:
        reply = NodeInfoGcsServiceStub(channel).CheckAlive(CheckAliveRequest(), timeout=ANSWER_SECONDS)
    except grpc.RpcError as error:
        return _refusal(error)
    finally:
        channel.close()
    import ray

    version = getattr(reply, "ray_version", "") or ray.__version__
    if version != ray.__version__:
        problem = f"runs Ray {version} and this is Ray {ray.__version__}; install the same version on both sides"
        return Answer(problem=problem, foreign=True)
    return Answer()


def _refusal(error: Any) -> Answer:
    code = getattr(error.code(), "name", str(error.code()))
    if code in ("UNAUTHENTICATED", "PERMISSION_DENIED"):
        how = "set RAY_AUTH_MODE=token and its token as RAY_AUTH_TOKEN or RAY_AUTH_TOKEN_PATH"
        return Answer(problem=f"does not take the authentication token of this side; {how}", foreign=True)
    return Answer(problem=f"answers, but not as the head of a Ray cluster does ({code.lower().replace('_', ' ')})")


def _address_file() -> str:
    """Path of the file in which ``ray start`` leaves its address."""
    from ray._common.utils import get_ray_address_file

    return str(get_ray_address_file(None))


def _read(file: str) -> str:
    try:
        return Path(file).read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""


def _use_token_at_hand() -> None:
    """Use the user's token for a cluster of this machine, as ray.init does."""
    try:
        from ray._private.authentication.authentication_token_setup import maybe_enable_token_auth_if_token_available
    except ImportError:  # an older Ray has no tokens
        return
    import logging

    logger = logging.getLogger("ray._private.authentication.authentication_token_setup")
    before, logger.disabled = logger.disabled, True
    try:
        maybe_enable_token_auth_if_token_available(warn_if_disabled=False)
    finally:
        logger.disabled = before
