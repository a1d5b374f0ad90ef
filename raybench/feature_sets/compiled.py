"""Functions compiled by numba, and where their machine code is kept for the next process.

Beside the package or in the user's cache, as numba does by itself; where neither can be written (a container's user
without a home), in a folder of the user's under the temporary folder; where there is none either, nowhere: each
process then compiles anew.
"""

from __future__ import annotations

import contextlib
import hashlib
import pickle
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import numba
from numba.core.caching import FunctionCache, IndexDataCacheFile

from raybench.scratch import has_home, private_folder

F = TypeVar("F", bound=Callable[..., Any])
_Untyped: Any = FunctionCache
_UntypedFiles: Any = IndexDataCacheFile
_settings: Any = numba.config


def compiled(function: F) -> F:
    """Compile a function when it is first called; without the interpreter lock, division as C has it."""
    return _made(function)


def contracted(function: F) -> F:
    """As ``compiled``, but a product that is added to something need not be rounded before: sooner, in other bits."""
    return _made(function, fastmath={"contract"})


def _made(function: F, **how: Any) -> F:
    made: Any = numba.njit(nogil=True, error_model="numpy", **how)(function)
    cache = _cache_of(function)
    if cache is not None:
        made._cache = cache
    kernel: F = made
    return kernel


class _Files(_UntypedFiles):  # type: ignore[misc]
    """numba's, each with a hash of its content: what is damaged is not run, it is as if it were not there."""

    def _save_index(self, overloads: Any) -> None:
        with self._open_for_write(self._index_path) as file:
            file.write(self._dump((self._version, self._source_stamp, overloads)))

    def _load_index(self) -> Any:
        version, stamp, overloads = _unsealed(self._index_path) or (None, None, {})
        return overloads if (version, stamp) == (self._version, self._source_stamp) else {}

    def _load_data(self, name: str) -> Any:
        return _unsealed(self._data_path(name))

    def _dump(self, value: Any) -> bytes:
        data: bytes = super()._dump(value)
        return hashlib.sha256(data).digest() + data


def _unsealed(path: str) -> Any:
    """What a file holds; None if it is not there, or not as it was written."""
    try:
        data = Path(path).read_bytes()
    except FileNotFoundError:
        return None
    size = hashlib.sha256().digest_size
    return pickle.loads(data[size:]) if hashlib.sha256(data[size:]).digest() == data[:size] else None


class _Cache(_Untyped):  # type: ignore[misc]
    """numba's, but what cannot be kept (a full disk) or read is compiled.

    Functions are kept with those that they call compiled into them, which numba does not look at: a change in any
    file beside theirs, or in this one, compiles them anew.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__(function)
        numbas: Any = self._cache_file
        path, base = numbas._cache_path, numbas._index_name.removesuffix(".nbi")
        stamp = (numbas._source_stamp, sources(Path(function.__code__.co_filename).parent))
        self._cache_file: Any = _Files(cache_path=path, filename_base=base, source_stamp=stamp)

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        try:
            return super().load_overload(sig, target_context)
        except OSError:
            return None

    def save_overload(self, sig: Any, data: Any) -> None:
        try:
            super().save_overload(sig, data)
        except OSError:
            self.disable()


@cache
def sources(folder: Path) -> str:
    """A hash of the files beside compiled functions, and of this one, which says how they are compiled."""
    found = hashlib.sha256()
    for path in [Path(__file__), *sorted(folder.glob("*.py"))]:
        found.update(path.read_bytes())
    return found.hexdigest()


def _cache_of(function: Callable[..., Any]) -> _Cache | None:
    """A cache where numba finds a place for it, else in the user's own folder; None: there is no place."""
    given = _settings.CACHE_DIR
    if given or has_home():
        with contextlib.suppress(RuntimeError):  # no locator available
            return _Cache(function)
    _settings.CACHE_DIR = private_folder("numba") or ""
    try:
        return _Cache(function) if _settings.CACHE_DIR else None
    except RuntimeError:
        return None
    finally:
        _settings.CACHE_DIR = given
