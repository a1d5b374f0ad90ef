"""How a command loads what it works with: in less time where a person or a cron job waits for one date."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def loading() -> Iterator[None]:
    """Import in the block without looking for garbage, of which imports leave none, neither now nor at the end.

    What is loaded stays until the process ends; to walk through all of it at each collection, the last one among
    them, takes a third as long as to load torch. A process that has loaded it already is left alone.
    """
    if "torch" in sys.modules or not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
