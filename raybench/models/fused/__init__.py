"""Recurrent layers in one pass over the window on a CPU: the same numbers as torch's own, up to rounding, sooner.

``choice`` says where they take the place of torch's; ``layer`` is what runs, and loads numba.
"""

__all__ = ["choice", "layer"]
