"""A store that answers what it has and fails when that is read: one line, exit code 2, within a minute."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path

import pytest

from raybench.cli.app import run as command
from raybench.storage import files
from tests.cluster.s3_faults import faulty
from tests.cluster.s3_server import BUCKET, upload

DAY, SINCE = "2015-12-30", "2015-12-21"
ROOT = f"s3://{BUCKET}/faults"
KINDS = {
    "bars": "bars/bars/",
    "metadata": "bars/metadata.json",
    "calendar": "bars/calendar/",
    "features": "features/",
    "weights": "run/model",
    "scores": "scores/",
}
"""What cannot be read, and what its path holds."""


@pytest.fixture(scope="module")
def stored(
    run: str, market_bars: str, server: Mapping[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Mapping[str, str]:
    """Bars, features, a run and its scores on the server."""
    folder = tmp_path_factory.mktemp("faults")
    bars, scores, features = ["--bars", market_bars], str(folder / "scores"), str(folder / "features")
    lines = (
        ["score", "--model", run, *bars, "--to", scores, "--start", SINCE],
        ["features", *bars, "--set", "alpha158", "--to", features, "--start", "2015-09-01"],
    )
    for line in lines:
        assert command([*line, "--local", "-q"]) == 0
    for name, source in (("", str(folder)), ("bars", market_bars), ("run", run)):
        upload(source, f"faults/{name}".rstrip("/"), server)
    return server


def line(kind: str, bars: str, run: str, out: Path) -> list[str]:
    """A command that reads ``kind`` from the server and all else from here."""
    score = ["score", "--start", DAY, "--local", "--to", str(out)]
    return {
        "bars": [*score, "--model", run, "--bars", f"{ROOT}/bars"],
        "metadata": [*score, "--model", run, "--bars", f"{ROOT}/bars"],
        "calendar": ["features", "--bars", f"{ROOT}/bars", "--set", "alpha158", "--local", "--to", str(out)],
        "features": [*score, "--model", run, "--bars", bars, "--features", f"{ROOT}/features"],
        "weights": [*score, "--model", f"{ROOT}/run", "--bars", bars],
        "scores": ["evaluate", "--scores", f"{ROOT}/scores", "--bars", bars, "--out", str(out)],
    }[kind]


@pytest.mark.parametrize("fault", ["500", "cut"])
@pytest.mark.parametrize("kind", KINDS)
def test_what_cannot_be_read_is_one_line(
    stored: Mapping[str, str],
    market_bars: str,
    run: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    kind: str,
    fault: str,
) -> None:
    for name, value in stored.items():
        monkeypatch.setenv(name, value)
    began = time.monotonic()
    with faulty(stored["AWS_ENDPOINT_URL"], fault, lambda path: KINDS[kind] in path) as endpoint:
        monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
        code = command([*line(kind, market_bars, run, tmp_path / "out"), "-q"])
    told = capsys.readouterr().err
    assert (code, told.count("\n"), "Traceback" in told) == (2, 1, False), told
    assert f"{ROOT}/{KINDS[kind]}" in told
    assert "cannot be re" in told  # read, reached
    assert "AWS Error" in told
    assert time.monotonic() - began < 60
    assert not files.list_files(str(tmp_path))
