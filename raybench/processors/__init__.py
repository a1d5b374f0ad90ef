"""Qlib's processors by their names, arguments and formulas, column by column."""

from __future__ import annotations

from raybench.processors.fitted import FittedProcessors, FittedStep, make_processor

__all__ = [
    "FittedProcessors",
    "FittedStep",
    "applied",
    "base",
    "by_date",
    "chain",
    "column",
    "fitted",
    "lags",
    "make_processor",
    "table",
]
