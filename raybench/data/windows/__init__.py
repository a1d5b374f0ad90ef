"""Windows x_BWF gathered from compact rows: `RowWindows` (tables), `LagWindows` (Alpha360), `FlatWindows`."""

from __future__ import annotations

from raybench.data.windows.grid import WindowGrid, window_grid
from raybench.data.windows.rows import RowWindows
from raybench.data.windows.source import Arrays, Spec, WindowSource

__all__ = ["Arrays", "RowWindows", "Spec", "WindowGrid", "WindowSource", "from_arrays", "window_grid"]

_KINDS = {"rows": RowWindows}


def from_arrays(spec: Spec, arrays: Arrays) -> WindowSource:
    """Make a source again from its ``spec()`` and ``arrays()``; read-only arrays are fine."""
    return _KINDS[spec["kind"]].from_arrays(spec, arrays)
