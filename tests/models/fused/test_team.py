"""Work on torch's own threads."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch

from raybench.models.fused import team

WAYS = pytest.mark.parametrize("way", ["team", "pool"])
THREADS_AFTER_EACH = """
import os, time
import torch
from raybench.models.fused import team
torch.set_num_threads(3)
torch.randn(4_000_000).sigmoid()
there = len(os.listdir("/proc/self/task"))
team.together(lambda: time.sleep(0.05), 3)
print(team._team_of_torch() is not None, len(os.listdir("/proc/self/task")) - there)
"""


@pytest.fixture
def together(way: str, monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], None], int], None]:
    if way == "pool":
        monkeypatch.setattr(team, "_team_of_torch", lambda: None)
    elif team._team_of_torch() is None:
        pytest.skip("torch runs its operations on other threads than libgomp's here")
    return team.together


@WAYS
@pytest.mark.parametrize("threads", [1, 2, 5])
def test_each_thread_does_the_work_once(together: Callable[[Callable[[], None], int], None], threads: int) -> None:
    barrier, seen = threading.Barrier(threads, timeout=20), []

    def work() -> None:
        barrier.wait()
        seen.append(threading.get_native_id())

    together(work, threads)
    assert len(seen) == len(set(seen)) == threads
    assert threading.get_native_id() in seen


@WAYS
@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
@pytest.mark.parametrize("fails", ["this", "another"])
def test_an_error_of_any_thread_comes_out_when_all_are_done(
    together: Callable[[Callable[[], None], int], None], error: type[BaseException], fails: str
) -> None:
    here, done = threading.get_native_id(), []

    def work() -> None:
        if (threading.get_native_id() == here) == (fails == "this"):
            raise error("told")
        time.sleep(0.1)
        done.append(True)

    with pytest.raises(error, match="told"):
        together(work, 2)
    together(lambda: done.append(True), 2)  # the next one works
    assert len(done) == 3


@WAYS
def test_threads_that_are_not_the_first_have_it_as_well(together: Callable[[Callable[[], None], int], None]) -> None:
    def of_its_own() -> int:
        seen: list[int] = []
        barrier = threading.Barrier(2, timeout=20)
        together(lambda: seen.append(barrier.wait()), 2)
        return len(seen)

    with ThreadPoolExecutor(2) as pool:
        assert [each.result() for each in [pool.submit(of_its_own) for _ in range(8)]] == [2] * 8


def test_no_thread_is_added_to_those_of_torch() -> None:
    if team._team_of_torch() is None:
        pytest.skip("torch runs its operations on other threads than libgomp's here")
    done = subprocess.run([sys.executable, "-c", THREADS_AFTER_EACH], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True", "0"]


@pytest.mark.parametrize("linked", ["package", "file"])
def test_an_environment_of_links_has_the_library_where_it_really_lies(tmp_path: Path, linked: str) -> None:
    real = tmp_path / "cache" / "lib"
    real.mkdir(parents=True)
    (real / "libgomp-1a2b.so.1").touch()
    (real / "libtorch.so").touch()
    package = tmp_path / "torch"
    if linked == "package":
        package.symlink_to(tmp_path / "cache")
    else:
        (package / "lib").mkdir(parents=True)
        (package / "lib" / "libgomp-1a2b.so.1").symlink_to(real / "libgomp-1a2b.so.1")
    assert team.libraries_of(package, "libgomp") == {real / "libgomp-1a2b.so.1"}


def test_torch_still_has_its_threads_afterwards() -> None:
    before, x = torch.get_num_threads(), torch.randn(1_000_000)
    want = x.sigmoid()
    team.together(lambda: None, 2)
    assert torch.get_num_threads() == before
    torch.testing.assert_close(x.sigmoid(), want, rtol=0, atol=0)
