"""Freed memory: kept for the next step in a training worker, given back by a driver that waits."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only the GNU C library can be told")

STEPS = """
import ctypes, resource, threading
from raybench.allocator import give_back_memory, keep_memory

libc = ctypes.CDLL(None)
libc.malloc.restype, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_void_p]

def step():
    blocks = [libc.malloc(2**20) for _ in range(32)]
    for block in blocks:
        ctypes.memset(block, 1, 2**20)
    for block in reversed(blocks):
        libc.free(block)

def faults():
    for _ in range(3):
        step()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(10):
        step()
    print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)

{setting}
thread = threading.Thread(target=faults)  # as Ray Train does: not the main thread
thread.start()
thread.join()
"""


def faults(setting: str) -> int:
    """Page faults of ten steps that each need the same 32 MiB."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")}
    run = [sys.executable, "-c", STEPS.format(setting=setting)]
    ended = subprocess.run(run, capture_output=True, text=True, check=True, env=environment)
    return int(ended.stdout)


def test_kept_memory_is_not_asked_for_again() -> None:
    assert faults("keep_memory()") < 1000 < faults("")


def test_memory_is_given_back() -> None:
    code = """
import ctypes
from raybench.allocator import give_back_memory, keep_memory

libc = ctypes.CDLL(None)
libc.malloc.restype, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_void_p]

def resident():
    return int(open("/proc/self/statm").read().split()[1]) * 4096 / 2**20

keep_memory()
blocks = [libc.malloc(2**20) for _ in range(64)]
for block in blocks:
    ctypes.memset(block, 1, 2**20)
for block in blocks:
    libc.free(block)
held = resident()
give_back_memory()
print(held - resident())
"""
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert float(ended.stdout) > 60  # MiB of 64


def test_large_pieces_go_back_when_they_are_freed_although_others_lie_behind_them() -> None:
    code = """
import ctypes
from raybench.allocator import return_memory

libc = ctypes.CDLL(None)
libc.malloc.restype, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_void_p]

def resident():
    return int(open("/proc/self/statm").read().split()[1]) * 4096 / 2**20

def taken(mib):
    block = libc.malloc(mib * 2**20)
    ctypes.memset(block, 1, mib * 2**20)
    return block

{setting}
libc.free(taken(30))  # from here on the library keeps pieces of up to 30 MiB
before = resident()
holes, kept = zip(*[(taken(8), taken(2)) for _ in range(8)])
for block in holes:
    libc.free(block)
print(resident() - before)
"""
    held = {}
    for setting in ("return_memory()", ""):
        command = [sys.executable, "-c", code.replace("{setting}", setting)]
        ended = subprocess.run(command, capture_output=True, text=True, check=True)
        held[setting] = float(ended.stdout)
    assert held["return_memory()"] < 20 < 60 < held[""]  # 16 are in use
