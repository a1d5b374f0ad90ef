"""A run directory on a disk of its own that fills up while Ray Train trains into it."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from raybench.cluster.jobs import training
from raybench.config import Config, dump_config
from raybench.runs.artifact import load_run
from tests.cluster.trained import assert_same_training

pytestmark = [pytest.mark.slow, pytest.mark.ray]

MakeConfig = Callable[..., Config]
APART = ["unshare", "--user", "--map-root-user", "--mount"]  # what is mounted is seen by this command and its children
FULL_AND_ROOM_AGAIN = """
mount -t tmpfs -o size={room} tmpfs disk
{train}; echo "full: $?"
mount -o remount,size=64m disk
{train} --resume; echo "room: $?"
cp -r disk/run kept
"""


@pytest.mark.parametrize("room", ["40k", "72k"])  # the second checkpoint does not fit; nor does the whole, which is 76k
def test_a_full_disk_is_one_line_and_room_is_all_that_resume_needs(
    make_config: MakeConfig, tmp_path: Path, room: str
) -> None:
    if subprocess.run(
        [*APART, "mount", "-t", "tmpfs", "tmpfs", str(tmp_path)], capture_output=True, check=False
    ).returncode:
        pytest.skip("needs to mount a small disk: user namespaces are not allowed here")
    config = make_config(train__max_epochs=6, cluster__num_workers=1)
    (tmp_path / "config.yaml").write_text(dump_config(config))
    (tmp_path / "disk").mkdir()
    train = f"{sys.executable} -m raybench train config.yaml --ray --out disk/run -q"
    with tempfile.TemporaryDirectory(prefix="rb", ignore_cleanup_errors=True) as short:
        environment = {key: value for key, value in os.environ.items() if key != "RAY_ADDRESS"} | {"RAY_TMPDIR": short}
        line = [*APART, "sh", "-c", FULL_AND_ROOM_AGAIN.format(room=room, train=train)]
        done = subprocess.run(line, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300)
    said = done.stdout + done.stderr
    assert "full: 2" in said, said
    assert "No space left on device; make room" in said
    assert "Traceback" not in said
    assert "room: 0" in said, said
    assert_same_training(
        load_run(str(tmp_path / "kept")), training.train(config, out=str(tmp_path / "whole"), local=True)
    )
