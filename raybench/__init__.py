"""raybench: Qlib's recurrent stock models, trained on a Ray cluster, scoring every instrument on every date.

    import raybench
    table = raybench.features(bars_df, set="alpha158")
    run = raybench.train("config.yaml", **{"train.lr": 1e-3})
    scores = raybench.score(run, bars=bars_df)
    raybench.evaluate(scores, bars_df)

Each verb is a function, loaded when it is first used: ``import raybench`` loads neither torch nor ray.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from raybench.api.benching import bench as bench
    from raybench.api.looking import compare as compare
    from raybench.api.looking import explain as explain
    from raybench.api.looking import export as export
    from raybench.api.mornings import daily as daily
    from raybench.api.mornings import status as status
    from raybench.api.run import load_run as load_run
    from raybench.api.searching import tune as tune
    from raybench.api.tables import evaluate as evaluate
    from raybench.api.tables import features as features
    from raybench.api.tables import score as score
    from raybench.api.training import adopt as adopt
    from raybench.api.training import train as train

__version__ = "0.1.0"

_VERBS: Mapping[str, str] = {
    "adopt": "raybench.api.training",
    "bench": "raybench.api.benching",
    "compare": "raybench.api.looking",
    "daily": "raybench.api.mornings",
    "evaluate": "raybench.api.tables",
    "explain": "raybench.api.looking",
    "export": "raybench.api.looking",
    "features": "raybench.api.tables",
    "load_run": "raybench.api.run",
    "score": "raybench.api.tables",
    "status": "raybench.api.mornings",
    "train": "raybench.api.training",
    "tune": "raybench.api.searching",
}
"""Module that defines the function of the same name."""


def __getattr__(name: str) -> Any:
    if name in _VERBS:
        return getattr(importlib.import_module(_VERBS[name]), name)
    raise AttributeError(f"module 'raybench' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_VERBS})
