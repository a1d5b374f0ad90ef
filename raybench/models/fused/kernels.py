"""The kernels by name, and how one is turned into machine code that anyone can call; loads numba."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numba
from numba import types
from numba.core import datamodel as _datamodel

from raybench.models.fused.gru import gru_backward, gru_forward
from raybench.models.fused.lstm import lstm_backward, lstm_forward

datamodel: Any = _datamodel
KERNELS: Mapping[str, Any] = {
    "gru_forward": gru_forward,
    "gru_backward": gru_backward,
    "lstm_forward": lstm_forward,
    "lstm_backward": lstm_backward,
}
_KINDS = {"Array": types.Array(types.float32, 3, "C"), "Flat": types.float32[::1], "int": types.intp}
_FIELDS = ("meminfo", "parent", "nitems", "itemsize", "data", "shape", "strides")  # as in ``machine_code._packed``
_KNOWN = {"memset", "memcpy", "memmove", "NRT_MemInfo_call_dtor"}
_DECLARED = re.compile(r'^declare [^@]*@"?([^"(]+)"?\(', re.MULTILINE)


def machine_code(name: str) -> tuple[str, bytes]:
    """Compile a kernel for float32 -> the name of its entry, and an object file.

    RuntimeError where the code would need more of numba at run time than a process without it can give, or is called
    in another way than is known.
    """
    model = datamodel.default_manager.lookup(_KINDS["Array"])
    if [model.get_field_position(field) for field in _FIELDS] != list(range(model.field_count)):
        raise RuntimeError("numba passes arrays in another way than machine_code does")
    function = KERNELS[name].py_func
    signature = tuple(_KINDS[kind] for argument, kind in function.__annotations__.items() if argument != "return")
    options: Any = {"nogil": True, "error_model": "numpy", "no_cpython_wrapper": True, "no_cfunc_wrapper": True}
    made: Any = numba.njit(**options)(function)
    made.compile(signature)
    result = made.overloads[signature]
    needed = {found for found in _DECLARED.findall(result.library.get_llvm_str()) if not found.startswith("llvm.")}
    if needed - _KNOWN:
        raise RuntimeError(f"{name} needs {', '.join(sorted(needed - _KNOWN))}")
    return result.fndesc.llvm_func_name, result.library.serialize_using_object_code()[2][0]
