"""Qlib's processors by their names, arguments and formulas, column by column."""

from __future__ import annotations

from raybench.data.processors.fitted import FittedProcessors, FittedStep, make_processor

__all__ = ["FittedProcessors", "FittedStep", "make_processor"]
