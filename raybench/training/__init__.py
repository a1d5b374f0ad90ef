"""From panels to trained weights: the loop, its feeds, checkpoints and the run directory."""

__all__ = [
    "alone",
    "checkpoints",
    "early_stopping",
    "needs",
    "network",
    "optimization",
    "rank",
    "reporter",
    "sources",
    "state",
    "steps",
]
