"""Who holds a claim, and whether it lives: told of processes that can be seen, and of no others."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace

import pytest

from raybench.storage import owners
from raybench.storage.owners import Owner

SAID = "from raybench.storage.owners import Owner; print(Owner.me('train').to_bytes().decode(), flush=True); input()"

pytestmark = pytest.mark.skipif(not owners._space(), reason="this system does not tell which process began when")


def test_a_process_is_gone_from_the_moment_that_it_is_killed() -> None:
    line = [sys.executable, "-c", SAID]
    process = subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout is not None
    owner = Owner.read(process.stdout.readline())
    try:
        assert owner is not None
        assert (owner.pid, owner.is_near, owner.is_gone) == (process.pid, True, False)
        assert replace(owner, started=owner.started + 1).is_gone, "its number was given again"
    finally:
        process.kill()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    assert owner.is_gone, "nobody has asked yet what became of it"
    process.communicate()
    assert owner.is_gone


def test_of_a_process_elsewhere_nothing_is_known() -> None:
    me = Owner.me("train")
    assert me.is_near
    assert not me.is_gone
    for other in (replace(me, pid=4_000_000, space="another boot"), replace(me, pid=4_000_000, space="")):
        assert (other.is_near, other.is_gone) == (False, False)
    assert replace(me, pid=4_000_000).is_gone


def test_what_an_older_version_wrote_is_read() -> None:
    old = {"what": "train", "host": "h", "pid": 7, "since": "2026-01-01T00:00:00+00:00", "token": "t"}
    owner = Owner.read(json.dumps(old).encode())
    assert owner is not None
    assert (owner.name, owner.is_near) == ("`raybench train` (process 7 on h)", False)
    assert Owner.read(b"") is None
    assert Owner.read(owner.renewed().to_bytes()) == owner.renewed() != owner
