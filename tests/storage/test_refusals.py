"""A store that refuses is told of in one line, whatever is asked of it, with its reason and without a secret."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from raybench.cli.app import run as command
from raybench.storage import files
from raybench.storage.refusals import said_of
from tests.storage.aws import ACCESS_KEY, SECRET, refusing, silent

TOLD = {
    "ExpiredToken": "the store refuses the credentials (EXPIRED_TOKEN)",
    "InvalidAccessKeyId": "the store refuses the credentials (INVALID_ACCESS_KEY_ID)",
    "RequestTimeTooSkewed": "the store refuses the clock of this machine (REQUEST_TIME_TOO_SKEWED)",
    "NoSuchBucket": "there is no bucket ours",
}
PLACE = "s3://ours/place"
COMMANDS = {
    "opened": ["status", PLACE],
    "read": ["features", "--bars", PLACE, "--set", "alpha158", "--to", "features", "--local"],
    "written": ["import", "source.csv", "--to", PLACE],
}


@pytest.mark.parametrize("code", TOLD)
@pytest.mark.parametrize("what", COMMANDS)
def test_the_store_s_reason_is_named_in_one_line(
    code: str, what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    rows = "instrument,datetime,open,high,low,close,volume\nA,2026-01-05,1,1,1,1,1\nA,2026-01-06,1,1,1,1,1\n"
    (tmp_path / "source.csv").write_text(rows)
    began = time.monotonic()
    with refusing(code) as environment:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        exit_code = command([*COMMANDS[what], "-q"])
    told = capsys.readouterr()
    assert (exit_code, told.out, told.err.count("\n")) == (2, "", 1), told.err
    assert "s3://ours" in told.err
    assert TOLD[code] in told.err
    assert ACCESS_KEY not in told.err
    assert SECRET not in told.err
    assert time.monotonic() - began < 60


@pytest.mark.slow
def test_a_store_without_a_word_is_given_up_within_a_minute(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    began = time.monotonic()
    with silent() as environment:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        code = command(["score", "--model", f"{PLACE}/run", "--bars", f"{PLACE}/bars", "--to", "scores", "--local"])
    told = capsys.readouterr().err.splitlines()[-1]
    assert code == 2
    assert told.startswith(f"error: {PLACE}/run/manifest.json: cannot be reached (tried 4 times)")
    assert time.monotonic() - began < 60
    assert not files.list_files(str(tmp_path))


def test_a_code_that_the_client_has_no_name_for_is_read_out_of_its_words() -> None:
    error = OSError(
        "When uploading: AWS Error UNKNOWN (HTTP status 400) during PutObject operation: Unable to parse "
        "ExceptionName: ExpiredToken Message: The provided token has expired."
    )
    assert TOLD["ExpiredToken"] in said_of(PLACE, error)
