"""The shipped configurations as text, with comments: in a checkout ``configs/``, in a wheel within the package."""

from __future__ import annotations

from pathlib import Path

from raybench.errors import ConfigError

FEATURE_SETS = ("alpha158", "alpha360")

_PLACES = (Path(__file__).parents[1] / "configs", Path(__file__).parents[2] / "configs")


def shipped_text(network: str, feature_set: str) -> str:
    """Qlib's benchmark settings of a network on alpha158 or alpha360, every key explained."""
    for folder in _PLACES:  # within the package first: beside it, others may have put folders of that name
        file = folder / f"{network}_{feature_set}.yaml"
        if file.is_file():
            return file.read_text(encoding="utf-8")
    raise ConfigError(f"this installation has no settings of {network} on {feature_set}; want all of raybench's files")
