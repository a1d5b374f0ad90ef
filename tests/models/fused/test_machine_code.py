"""Kernels are compiled once and loaded without numba; what is damaged is made again, what cannot be had is numba's."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from torch import nn

from raybench.models.fused import kernels, machine_code
from tests.models.fused.test_layer import made

CODE = """
import sys, torch
from torch import nn
from tests.models.fused.test_layer import is_fused, made
found = made(nn.GRU(3, 6, batch_first=True), torch.randn(9, 5, 3))[0]
found.sum().backward()
assert is_fused(found)
assert not "numba" in sys.modules, "loaded numba"
"""


@pytest.fixture
def anew() -> Iterator[None]:
    """Kernels are looked for once more, before and after."""
    machine_code._loaded.cache_clear()
    yield
    machine_code._loaded.cache_clear()


def test_later_processes_do_without_numba() -> None:
    made(nn.GRU(3, 6, batch_first=True), torch.randn(9, 5, 3))[0].sum().backward()  # compiled and kept, if it was not
    subprocess.run([sys.executable, "-c", CODE], check=True)


@pytest.mark.parametrize(
    "damaged", [lambda data: b"", lambda data: data[:-9], lambda data: data[:99] + b"x" + data[100:]]
)
def test_what_is_damaged_is_not_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damaged: Callable[[bytes], bytes]
) -> None:
    machine_code.kernel("gru_forward", torch.float32)
    kept = machine_code._kept("gru_forward")
    whole = next(path for path in machine_code._places("gru_forward") if path.exists()).read_bytes()
    place = tmp_path / "kernel.bin"
    monkeypatch.setattr(machine_code, "_places", lambda name: [place])
    assert machine_code._kept("gru_forward") is None
    place.write_bytes(whole)
    assert machine_code._kept("gru_forward") == kept
    place.write_bytes(damaged(whole))
    assert machine_code._kept("gru_forward") is None


def test_what_is_damaged_is_made_again_and_kept(tmp_path: Path, anew: None, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = next(path for path in machine_code._places("gru_forward") if path.exists()).read_bytes()
    place = tmp_path / "kernel.bin"
    place.write_bytes(whole[:-1])
    monkeypatch.setattr(machine_code, "_places", lambda name: [place])
    assert machine_code._loaded("gru_forward") is not None
    assert machine_code._kept("gru_forward") is not None


def test_where_nothing_can_be_kept_it_still_runs(anew: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine_code, "_places", lambda name: [Path("/proc/no/such/folder/kernel.bin")])
    assert machine_code._loaded("gru_forward") is not None


@pytest.mark.slow
def test_two_processes_that_compile_at_once_both_run(tmp_path: Path) -> None:
    """And leave what a third one can use."""
    code = CODE.replace('assert not "numba" in sys.modules, "loaded numba"', "")
    known = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path)}
    both = [subprocess.Popen([sys.executable, "-c", code], env=known) for _ in range(2)]
    assert [process.wait(timeout=120) for process in both] == [0, 0]
    assert len(list(tmp_path.glob("gru_*.bin"))) == 2
    subprocess.run([sys.executable, "-c", CODE], check=True, env=known)


def test_without_compiling_and_nothing_kept_it_is_one_line(tmp_path: Path) -> None:
    """And with what is kept it runs."""
    code = "from raybench.models.fused import machine_code as m; import torch; m.kernel('gru_forward', torch.float32)"
    known = os.environ | {"NUMBA_DISABLE_JIT": "1", "TMPDIR": str(tmp_path)}
    known |= {"NUMBA_CACHE_DIR": str(tmp_path / "none")}
    ended = subprocess.run([sys.executable, "-c", code], env=known, capture_output=True, text=True, check=False)
    assert "ConfigError: NUMBA_DISABLE_JIT is set" in ended.stderr
    kept = next(path for path in machine_code._places("gru_forward") if path.exists()).parent
    subprocess.run([sys.executable, "-c", code], env=known | {"NUMBA_CACHE_DIR": str(kept)}, check=True)


def test_a_folder_below_the_home_may_be_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NUMBA_CACHE_DIR", "~/kernels")
    assert next(machine_code._places("gru_forward")).parent == tmp_path / "kernels"


@pytest.mark.parametrize(("name", "value"), [("_FIELDS", ("data", "shape")), ("_KNOWN", set())])
def test_another_numba_makes_no_machine_code(monkeypatch: pytest.MonkeyPatch, name: str, value: object) -> None:
    """One that passes arrays in another way, or whose code asks for more at run time."""
    monkeypatch.setattr(kernels, name, value)
    with pytest.raises(RuntimeError):
        kernels.machine_code("gru_forward")


def test_without_machine_code_numba_runs_the_same(anew: None, monkeypatch: pytest.MonkeyPatch) -> None:
    rnn, x = nn.GRU(3, 6, batch_first=True), torch.randn(9, 5, 3)
    at = list(rnn.parameters())

    def run() -> list[torch.Tensor]:
        out = made(rnn, x)[0]
        return [out, *torch.autograd.grad(out.square().sum(), at)]

    expected = run()
    machine_code._loaded.cache_clear()
    monkeypatch.setattr(machine_code, "_kept", lambda name: None)
    monkeypatch.setattr(machine_code, "_made", lambda name: [][1])  # as if numba had changed
    assert machine_code._loaded("gru_forward") is None
    assert all(torch.equal(one, other) for one, other in zip(run(), expected, strict=True))
