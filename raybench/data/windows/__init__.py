"""Windows x_BWF gathered from compact rows: `RowWindows` (tables), `LagWindows` and `FlatWindows` (Alpha360)."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from raybench.data.windows.flat import FlatWindows
from raybench.data.windows.grid import WindowGrid, window_grid
from raybench.data.windows.lag import LagWindows
from raybench.data.windows.rows import RowWindows
from raybench.data.windows.source import Arrays, Mover, Spec, WindowSource, as_tensor

__all__ = [
    "Arrays",
    "FlatWindows",
    "LagWindows",
    "Mover",
    "RowWindows",
    "Spec",
    "WindowGrid",
    "WindowSource",
    "as_tensor",
    "from_arrays",
    "window_grid",
]

_KINDS: Mapping[str, Callable[[Spec, Arrays], WindowSource]] = {
    "rows": RowWindows.from_arrays,
    "lags": LagWindows.from_arrays,
    "flat": FlatWindows.from_arrays,
}


def from_arrays(spec: Spec, arrays: Arrays) -> WindowSource:
    """Make a source again from its ``spec()`` and ``arrays()``; read-only arrays are fine."""
    return _KINDS[spec["kind"]](spec, arrays)
