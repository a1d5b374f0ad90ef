"""Windows x_BWF gathered from compact rows: `RowWindows` (tables), `LagWindows` and `FlatWindows` (Alpha360)."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from raybench.panel.windows.flat import FlatWindows
from raybench.panel.windows.grid import WindowGrid, window_grid
from raybench.panel.windows.lag import LagWindows
from raybench.panel.windows.rows import RowWindows
from raybench.panel.windows.source import WindowSource
from raybench.storage.arrays import Arrays, Mover, Spec, as_tensor

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
    "lag",
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
