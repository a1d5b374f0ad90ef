"""Weights files that are no flat state dict: what is in them, told without opening what could run code.

A pickle is a program; its instructions can be listed without being run. What they would import says what the file
holds, and so what to do where it was made.
"""

from __future__ import annotations

import contextlib
import io
import pickletools
import struct
import zipfile
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from torch import Tensor

INSIDE = ("state_dict", "model_state_dict", "model_state", "model", "net", "weights")
"""Under what a checkpoint of Lightning and others keeps the state dict."""

_HARMLESS = frozenset({"torch", "collections", "numpy", "_codecs", "builtins", "__builtin__"})
MOST_BYTES = 64 * 2**20  # of a pickle's instructions; tensors lie beside them


def state_within(found: object) -> Mapping[str, Tensor] | None:
    """The state dict that a loaded file is, or has under one of the usual names; None if there is none."""
    if not isinstance(found, Mapping):
        return None
    for inside in (found, *filter(None, map(found.get, INSIDE))):
        if isinstance(inside, Mapping) and all(isinstance(value, Tensor) for value in inside.values()):
            return inside
    return None


def without_prefix(state: Mapping[str, Tensor], wanted: Collection[str]) -> Mapping[str, Tensor]:
    """Take off what a wrapper puts before every name (``module.``, ``_orig_mod.``), if the names are then wanted."""
    names, prefix = set(wanted), ""
    for part in common_prefix(state).split("."):
        if names & {name.removeprefix(prefix) for name in state}:
            return {name.removeprefix(prefix): value for name, value in state.items()}
        prefix += f"{part}."
    return state


def common_prefix(names: Collection[str]) -> str:
    """The parts with which all names begin, such as ``module.``; empty if they differ."""
    parts = [name.split(".")[:-1] for name in names]
    shared = []
    for level in zip(*parts, strict=False):
        if len(set(level)) > 1:
            break
        shared.append(level[0])
    return "".join(f"{part}." for part in shared)


def is_safetensors(data: bytes) -> bool:
    """Whether a file begins as safetensors do: the length of a header, and a header in JSON."""
    return data[8:9] == b"{" and int.from_bytes(data[:8], "little") <= len(data) - 8


def is_pickled(data: bytes) -> bool:
    """Whether a file begins as what torch.save or pickle writes: an archive, or the mark of a protocol."""
    return data.startswith((b"PK", b"\x80"))


def holds_arrays(data: bytes) -> bool:
    """Whether a pickle imports what makes arrays of numpy, and nothing else that runs code."""
    imported = set(_imported(data))
    return any(name.partition(".")[0] == "numpy" for name in imported) and remedy(data) is None


def remedy(data: bytes) -> str | None:
    """What a pickle holds that only its own code can open, and what to do where it was made; None: nothing like it."""
    imported = dict.fromkeys(_imported(data))
    classes = [name for name in imported if name.partition(".")[0] not in _HARMLESS or ".nn.modules." in name]
    if not classes:
        return None
    first = classes[0]
    if first.startswith("qlib."):
        how = "torch.save(model.NETWORK.state_dict(), 'weights.pt'), where NETWORK is gru_model, lstm_model, "
        how += "ALSTM_model, GAT_model, TCN_model or what else model keeps its network in"
    elif any("lightning" in name for name in classes):
        how = "torch.save(torch.load(FILE, weights_only=False)['state_dict'], 'weights.pt')"
    else:
        how = "torch.save(model.state_dict(), 'weights.pt')"
    return f"holds an object of class {first}, and opening it would run its code; where it was made, write {how}"


def _imported(data: bytes) -> Iterator[str]:
    """The full names of what a pickle would import, in the order in which it would."""
    texts: list[str] = []
    memo: list[str | None] = []
    last: str | None = None
    for name, argument in _instructions(data):
        if name == "GLOBAL":
            yield str(argument).replace(" ", ".")
        elif name == "STACK_GLOBAL":
            yield ".".join(texts[-2:])
        elif name == "MEMOIZE":
            memo.append(last)
        elif name.endswith("BINGET") and argument < len(memo) and memo[argument] is not None:
            texts.append(str(memo[argument]))
        elif isinstance(argument, str) and "UNICODE" in name:
            texts.append(argument)
        last = argument if isinstance(argument, str) else None if name != "FRAME" else last


def _instructions(data: bytes) -> Iterator[tuple[str, Any]]:
    """The instructions of the pickles in a file: itself, or what torch.save put beside the tensors."""
    stream = io.BytesIO(_pickles(data))
    # what is no pickle, or cut, has no more of them
    with contextlib.suppress(ValueError, KeyError, EOFError, IndexError, UnicodeError, OverflowError, struct.error):
        while True:
            yield from ((code.name, argument) for code, argument, _ in pickletools.genops(stream))


def _pickles(data: bytes) -> bytes:
    if not data.startswith(b"PK"):
        return data[:MOST_BYTES]
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            found = next((name for name in archive.namelist() if name.endswith("data.pkl")), None)
            if found is None:
                return b""
            with archive.open(found) as stream:
                return stream.read(MOST_BYTES)
    except (zipfile.BadZipFile, OSError, ValueError, RuntimeError, NotImplementedError):
        return b""
