"""The kernels as machine code: compiled once on a machine, kept, and loaded by later processes without numba.

To load numba and what it keeps takes half a second and 120 MiB; to load these takes a twentieth. What is kept lies
where numba keeps its own: in NUMBA_CACHE_DIR, beside this package, or in a folder of the user's under the temporary
folder; where nothing can be kept, each process compiles anew. Kernels for float64, and all of them where machine code
cannot be had, are numba's.

numba passes an array to compiled code as two addresses that only it needs, the number of elements, the size of one,
the address of the first, the shape, and the strides.
"""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import importlib.metadata
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from itertools import chain
from pathlib import Path
from typing import Any

import llvmlite
import torch
from llvmlite import binding
from torch import Tensor

from raybench.errors import ConfigError, RaybenchError
from raybench.models.fused.blocks import CPU_FEATURES, CPU_NAME
from raybench.scratch import private_folder
from raybench.storage import files

Packed = tuple[Any, ...]
_DESTRUCTOR = "define void @NRT_MemInfo_call_dtor(i64 %0) {\n  ret void\n}"  # of what numba allocates: nothing here
_lock = threading.Lock()


class Kernel:
    """A function of arrays and whole numbers that holds no lock of Python while it runs.

    Arrays are given as ``pack`` makes them of contiguous tensors, which have to be kept for so long.
    """

    def __init__(self, call: Callable[..., Any], pack: Callable[[Tensor], Packed]) -> None:
        self._call, self.pack = call, pack

    def __call__(self, arrays: Iterable[Packed], *numbers: int) -> None:
        self._call(*chain.from_iterable(arrays), *numbers)


def kernel(name: str, dtype: torch.dtype) -> Kernel:
    """Give the kernel of that name (``kernels.KERNELS``), compiling it where it is not kept."""
    with _lock:
        found = _loaded(name) if dtype == torch.float32 else None
        return _numbas(name) if found is None else found


@cache
def _numbas(name: str) -> Kernel:
    from numba import config

    from raybench.models.fused.kernels import KERNELS

    settings: Any = config
    if settings.DISABLE_JIT:
        raise ConfigError(
            f"NUMBA_DISABLE_JIT is set, and the kernel {name} is not there yet: it cannot be compiled; unset it, or "
            "set cluster.fused_layers to false"
        )

    return Kernel(KERNELS[name], lambda value: (value.numpy(),))


@cache
def _loaded(name: str) -> Kernel | None:
    """A kernel out of machine code; None where there is none."""
    try:
        entry, code = _kept(name) or _made(name)
        binding.initialize_native_target()
        binding.initialize_native_asmprinter()
        machine = binding.Target.from_default_triple().create_target_machine()
        engine = binding.create_mcjit_compiler(binding.parse_assembly(_DESTRUCTOR), machine)
        engine.add_object_file(binding.ObjectFileRef.from_data(code))
        engine.finalize_object()
        return _callable(engine, entry)
    except (RuntimeError, AttributeError, TypeError, LookupError):  # another numba or LLVM than this was written for
        return None


def _callable(engine: Any, entry: str) -> Kernel:
    address = engine.get_function_address(entry)
    if not address:
        raise RuntimeError(f"{entry} is not there")
    function: Any = ctypes.CFUNCTYPE(ctypes.c_int32)(address)
    function.engine = engine  # the code goes with it
    result, error = ctypes.c_void_p(), ctypes.c_void_p()  # where numba would put them, by pointers to pointers

    def call(*flat: int) -> None:
        if not function.argtypes:
            function.argtypes = [ctypes.c_void_p] * 2 + [ctypes.c_int64] * len(flat)
        function(ctypes.byref(result), ctypes.byref(error), *flat)

    return Kernel(call, _packed)


def _packed(value: Tensor) -> Packed:
    size = value.element_size()
    return (0, 0, value.numel(), size, value.data_ptr(), *value.shape, *[step * size for step in value.stride()])


def _made(name: str) -> tuple[str, bytes]:
    """Compile, and keep what came out where that can be done."""
    from raybench.models.fused.kernels import machine_code

    entry, code = machine_code(name)
    named = f"{entry}\n".encode() + code
    kept = f"{hashlib.sha256(named).hexdigest()}\n".encode() + named
    for place in _places(name):
        try:
            files.publish_bytes(str(place), kept)
        except (OSError, RaybenchError):
            continue
        break
    return entry, code


def _kept(name: str) -> tuple[str, bytes] | None:
    """Read what was kept; None where nothing was, or not whole."""
    for place in _places(name):
        with contextlib.suppress(OSError, ValueError):
            digest, named = place.read_bytes().split(b"\n", 1)
            if hashlib.sha256(named).hexdigest() == digest.decode():
                entry, code = named.split(b"\n", 1)
                return entry.decode(), code
    return None


def _places(name: str) -> Iterator[Path]:
    """Where machine code may be kept; it goes to the first that can be written."""
    own = private_folder("kernels")
    folders = [os.environ.get("NUMBA_CACHE_DIR") or str(Path(__file__).parent / "__pycache__"), own]
    yield from (Path(folder).expanduser() / f"{name}-{_key()}.bin" for folder in folders if folder)


@cache
def _key() -> str:
    """What the code depends on: our sources, who compiles them, and for which processor."""
    here = Path(__file__).parent
    known = [importlib.metadata.version("numba"), llvmlite.__version__, binding.get_default_triple()]
    known += [CPU_NAME or binding.get_host_cpu_name(), CPU_FEATURES or binding.get_host_cpu_features().flatten()]
    found = hashlib.sha256("\0".join(known).encode())
    how = here.parents[1] / "feature_sets" / "compiled.py"  # not imported: it loads numba
    for path in [how, *sorted(here.glob("*.py"))]:
        found.update(path.read_bytes())
    return found.hexdigest()[:24]
