"""Names of the columns of Qlib's two feature sets, in Qlib's order. Pure text: no numpy, no data."""

from __future__ import annotations

ALPHA158_WINDOWS = (5, 10, 20, 30, 60)

ALPHA158_BAR = ("KMID", "KLEN", "KMID2", "KUP", "KUP2", "KLOW", "KLOW2", "KSFT", "KSFT2")
ALPHA158_PRICE = ("OPEN0", "HIGH0", "LOW0", "VWAP0")
ALPHA158_ROLLING = (
    "ROC", "MA", "STD", "BETA", "RSQR", "RESI", "MAX", "MIN", "QTLU", "QTLD",
    "RANK", "RSV", "IMAX", "IMIN", "IMXD", "CORR", "CORD", "CNTP", "CNTN", "CNTD",
    "SUMP", "SUMN", "SUMD", "VMA", "VSTD", "WVMA", "VSUMP", "VSUMN", "VSUMD",
)  # fmt: skip

ALPHA158_NAMES: tuple[str, ...] = (
    *ALPHA158_BAR,
    *ALPHA158_PRICE,
    *(f"{name}{window}" for name in ALPHA158_ROLLING for window in ALPHA158_WINDOWS),
)
"""The 158 columns of Alpha158."""

ALPHA360_STEPS = 60
ALPHA360_FIELDS = ("close", "open", "high", "low", "vwap", "volume")

ALPHA360_NAMES: tuple[str, ...] = tuple(
    f"{field.upper()}{lag}" for field in ALPHA360_FIELDS for lag in range(ALPHA360_STEPS - 1, -1, -1)
)
"""The 360 columns of Alpha360: per field, lag 59 to lag 0."""

BENCHMARK_20: tuple[str, ...] = (
    "KLEN", "KLOW", "ROC60", "STD5", "RSQR5", "RSQR10", "RSQR20", "RSQR60", "RESI5", "RESI10",
    "CORR5", "CORR10", "CORR20", "CORR60", "CORD5", "CORD10", "CORD60", "VSTD5", "WVMA5", "WVMA60",
)  # fmt: skip
"""The 20 columns Qlib's Alpha158 sequence benchmarks use, in table order."""
