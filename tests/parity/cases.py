"""What is compared: feature sets, processors and windows, in words that both sides take."""

from __future__ import annotations

from typing import Any

from tests.parity.provider import SEGMENTS, SHORT_SEGMENTS, UNIVERSE

TWENTY = [
    *("RESI5", "WVMA5", "RSQR5", "KLEN", "RSQR10", "CORR5", "CORD5", "CORR10", "ROC60", "RESI10"),
    *("VSTD5", "RSQR60", "CORR60", "WVMA60", "STD5", "RSQR20", "CORD60", "CORD10", "CORR20", "KLOW"),
]
FEATURE = {"fields_group": "feature"}
LABEL = {"fields_group": "label"}
DROP = {"class": "DropnaLabel"}
RANKED = [DROP, {"class": "CSRankNorm", "kwargs": LABEL}]
ROBUST = [
    {"class": "RobustZScoreNorm", "kwargs": {**FEATURE, "clip_outlier": True}},
    {"class": "Fillna", "kwargs": FEATURE},
]


def case(
    feature_set: str,
    infer: list[dict[str, Any]] | None,
    learn: list[dict[str, Any]] | None = None,
    *,
    columns: list[str] | None = None,
    step_len: int = 5,
    short: bool = False,
) -> dict[str, Any]:
    """``short``: over a few weeks only, for processors that take Qlib a second per date."""
    segments = SHORT_SEGMENTS if short else SEGMENTS
    return {
        "feature_set": feature_set,
        "columns": columns,
        "step_len": step_len,
        "universe": UNIVERSE,
        "start": segments["train"][0],
        "end": segments["test"][1],
        "segments": segments,
        "infer": infer,
        "learn": RANKED if learn is None else learn,
    }


def processors(*names: str, **kwargs: Any) -> list[dict[str, Any]]:
    return [{"class": name, "kwargs": dict(kwargs)} for name in names]


CASES: dict[str, dict[str, Any]] = {
    "alpha158_20": case("alpha158", ROBUST, columns=TWENTY, step_len=20),
    "alpha158_full": case("alpha158", ROBUST),
    "alpha158_zscore": case("alpha158", processors("ProcessInf", "ZScoreNorm", "Fillna"), short=True),
    "alpha158_minmax_tanh": case("alpha158", processors("MinMaxNorm", "TanhProcess") + processors("Fillna", **FEATURE)),
    "alpha158_per_date": case(
        "alpha158",
        processors("CSZFillna", "CSZScoreNorm", "Fillna", **FEATURE),
        [DROP, *processors("CSZScoreNorm", **LABEL)],
        columns=TWENTY,
    ),
    "alpha158_robust_per_date": case(
        "alpha158",
        [{"class": "CSZScoreNorm", "kwargs": {**FEATURE, "method": "robust"}}, *processors("Fillna", **FEATURE)],
        columns=TWENTY,
    ),
    "alpha360": case("alpha360", ROBUST, step_len=60),
    "alpha360_handler_defaults": case(
        "alpha360",
        processors("ProcessInf", "ZScoreNorm", "Fillna"),
        [DROP, *processors("CSZScoreNorm", **LABEL)],
        step_len=60,
        short=True,
    ),
    "alpha360_per_date": case(
        "alpha360", processors("CSZFillna", "CSZScoreNorm", "Fillna", **FEATURE), step_len=60, short=True
    ),
    "alpha360_ranked": case("alpha360", processors("CSRankNorm", "Fillna", **FEATURE), step_len=60),
}
"""Alpha158 is compared as windows of ``step_len`` rows, Alpha360 as its flat rows."""
