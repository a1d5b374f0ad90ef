"""Functions compiled by numba, and where their machine code is kept for the next process.

Beside the package or in the user's cache, as numba does by itself; where neither can be written (a container's user
without a home), in a folder of the user's under the temporary folder; where there is none either, nowhere: each
process then compiles anew.
"""

from __future__ import annotations

import contextlib
import pickle
from collections.abc import Callable
from typing import Any, TypeVar

import numba
from numba.core.caching import FunctionCache

from raybench.scratch import has_home, private_folder

F = TypeVar("F", bound=Callable[..., Any])
_Untyped: Any = FunctionCache
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


class _Cache(_Untyped):  # type: ignore[misc]
    """numba's, but what cannot be kept (a full disk) or read (a file that was cut) is compiled."""

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        try:
            return super().load_overload(sig, target_context)
        except (OSError, EOFError, pickle.UnpicklingError):
            return None

    def save_overload(self, sig: Any, data: Any) -> None:
        try:
            super().save_overload(sig, data)
        except (OSError, EOFError, pickle.UnpicklingError):
            self.disable()


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
