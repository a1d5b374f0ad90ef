"""What comes next: the words of the command to type after this one, with the paths that were just used."""

from __future__ import annotations

import os
from collections.abc import Sequence

from raybench.config import Config

SHIPPED = "configs/gru_alpha158.yaml"  # in a checkout, which is where a first day is spent


def after_import(bars: str) -> tuple[str, ...]:
    """Write a configuration for them."""
    return ("init", "--bars", bars)


def after_features(features: str, bars: str, universe: str | None) -> tuple[str, ...]:
    """Check a configuration on the table, where one is at hand."""
    if not os.path.exists(SHIPPED):
        return ()
    return ("check", SHIPPED, f"data.features={features}", f"data.bars={bars}", f"data.universe={universe or 'all'}")


def after_check(config: str, overrides: Sequence[str]) -> tuple[str, ...]:
    """Train it, under the name of its file."""
    name = config.rstrip("/").rpartition("/")[2].partition(".")[0] or "run"
    return ("train", config, *overrides, "--out", f"runs/{name}")


def after_train(run: str, config: Config) -> tuple[str, ...]:
    """Score with it, from the data it was trained on; ``run``: a run, or a folder of seeds."""
    return ("score", "--model", run, *_data(config.data.bars, config.data.features), "--to", beside(run, "scores"))


def after_score(
    scores: str, models: Sequence[str], bars: str | None, features: str | None, *, holds_any: bool
) -> tuple[str, ...]:
    """Evaluate what was scored, if anything is there."""
    if not holds_any:
        return ()
    runs = [word for model in models for word in ("--model", model)]
    return ("evaluate", "--scores", scores, *_data(bars, features), *runs, "--out", beside(scores, "evaluation"))


def beside(path: str, what: str) -> str:
    """Name a neighbour: runs/gru -> runs/gru-scores, but runs/gru-scores -> runs/gru-evaluation, bars -> features."""
    folder, slash, name = path.rstrip("/").rpartition("/")
    for known in ("scores", "bars"):
        if name == known or name.endswith(f"-{known}"):
            return f"{folder}{slash}{name.removesuffix(known)}{what}"
    return f"{folder}{slash}{name}-{what}"


def _data(bars: str | None, features: str | None) -> list[str]:
    return [
        word
        for option, place in (("--bars", bars), ("--features", features))
        if place is not None
        for word in (option, place)
    ]
