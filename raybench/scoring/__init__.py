"""From a trained run to scores: the predictor and the score table."""

__all__ = [
    "audit",
    "checks",
    "coverage",
    "ensemble",
    "foreign",
    "gaps",
    "inputs",
    "job",
    "looked",
    "made_from",
    "members",
    "onnx",
    "planning",
    "predictor",
    "refused",
    "result",
    "stale",
    "status",
    "table",
    "work",
]
