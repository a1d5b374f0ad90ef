"""What each column of Qlib's feature sets reads: which fields of the bars, and how many rows. No numpy, no data."""

from __future__ import annotations

from collections.abc import Iterable

from raybench.config.data.alpha_names import ALPHA158_BAR, ALPHA158_PRICE, ALPHA360_FIELDS, ALPHA360_STEPS
from raybench.config.data.spec import FeatureSet

PRICES = ("open", "high", "low", "close", "volume")
"""Fields that Alpha158 is not computed without, whatever the columns."""

_ONE_ROW_MORE = frozenset({"ROC", "CORD", "CNTP", "CNTN", "CNTD", "SUMP", "SUMN", "SUMD", "WVMA"}) | {
    "VSUMP",
    "VSUMN",
    "VSUMD",
}  # compare each row of their window with the one before


_READ = {
    "MAX": ("high", "close"),
    "MIN": ("low", "close"),
    "RSV": ("high", "low", "close"),
    "IMAX": ("high",),
    "IMIN": ("low",),
    "IMXD": ("high", "low"),
    **dict.fromkeys(("CORR", "CORD", "WVMA"), ("close", "volume")),
    **dict.fromkeys(("VMA", "VSTD", "VSUMP", "VSUMN", "VSUMD"), ("volume",)),
}  # by family of Alpha158, the others read close alone


def fields_of(features: FeatureSet, columns: Iterable[str]) -> tuple[str, ...]:
    """Name the fields of bars that ``columns`` of a feature set read; none for a table, which has no bars."""
    if features.type == "table":
        return ()
    if features.type == "alpha360":
        return ALPHA360_FIELDS
    return (*PRICES, "vwap") if "VWAP0" in set(columns) else PRICES


def missed_of(features: FeatureSet, columns: Iterable[str]) -> tuple[str, ...]:
    """Name the fields of bars without whose numbers some of ``columns`` are others; none for a table."""
    if features.type != "alpha158":
        return fields_of(features, ())
    read = {field for name in columns for field in _fields(name)}
    return tuple(field for field in (*PRICES, "vwap") if field in read)


def rows_of(features: FeatureSet, columns: Iterable[str]) -> int:
    """Count the rows of bars that the widest of ``columns`` is made from, its own among them.

    1 for a table, whose rows are features already, and for Alpha360, whose lags are the window.
    """
    return max((_rows(name) for name in columns), default=1) if features.type == "alpha158" else 1


def rows_of_window(features: FeatureSet, columns: Iterable[str], step_len: int) -> int:
    """Count the rows of bars that one full window is made from."""
    return ALPHA360_STEPS if features.type == "alpha360" else rows_of(features, columns) + step_len - 1


def _fields(name: str) -> tuple[str, ...]:
    if name in ALPHA158_PRICE:
        return (name.lower().removesuffix("0"), "close")
    if name in ALPHA158_BAR:
        return ("open", "high", "low", "close")
    return _READ.get(name.rstrip("0123456789"), ("close",))


def _rows(name: str) -> int:
    if name in ALPHA158_BAR or name in ALPHA158_PRICE:
        return 1
    family = name.rstrip("0123456789")
    return int(name.removeprefix(family)) + (family in _ONE_ROW_MORE)
