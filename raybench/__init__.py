"""raybench: Qlib's recurrent stock models, trained on a Ray cluster, scoring every instrument on every date.

    import raybench
    table = raybench.features(bars_df, set="alpha158")
    run = raybench.train("config.yaml", **{"train.lr": 1e-3})
    scores = raybench.score(run, bars=bars_df)
    raybench.evaluate(scores, bars_df)

Each verb is loaded when it is first used. ``train``, ``score``, ``evaluate`` and ``explain`` are packages too,
so there the package itself is what is called.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Mapping
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from raybench.api.run import load_run as load_run
    from raybench.api.verbs import evaluate as evaluate
    from raybench.api.verbs import explain as explain
    from raybench.api.verbs import features as features
    from raybench.api.verbs import score as score
    from raybench.api.verbs import train as train
    from raybench.cluster.adoption import adopt as adopt

__version__ = "0.1.0"

_VERBS: Mapping[str, str] = {
    "adopt": "raybench.cluster.adoption",
    "evaluate": "raybench.api.verbs",
    "explain": "raybench.api.verbs",
    "features": "raybench.api.verbs",
    "load_run": "raybench.api.run",
    "score": "raybench.api.verbs",
    "train": "raybench.api.verbs",
}
"""Module that defines the function of the same name."""

_PACKAGES = ("evaluate", "explain", "score", "train")


class _CallablePackage(ModuleType):
    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return _verb(self.__name__.rpartition(".")[2])(*args, **kwargs)


class _Root(ModuleType):
    def __setattr__(self, name: str, value: Any) -> None:
        # the import system sets a package on its parent: the moment to make it callable
        if name in _PACKAGES and isinstance(value, ModuleType):
            value.__class__ = _CallablePackage
        super().__setattr__(name, value)


def _verb(name: str) -> Any:
    return getattr(importlib.import_module(_VERBS[name]), name)


def __getattr__(name: str) -> Any:
    if name in _PACKAGES:
        return importlib.import_module(f"raybench.{name}")
    if name in _VERBS:
        return _verb(name)
    raise AttributeError(f"module 'raybench' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_VERBS})


sys.modules[__name__].__class__ = _Root
