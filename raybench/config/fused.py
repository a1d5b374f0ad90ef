"""Which recurrent layers a training runs: our fused ones (``raybench.models.fused``), or torch's own."""

from __future__ import annotations

from raybench.config.schema import Config

FUSED, TORCH = "fused", "torch"
LEAST_STEPS = 2_000_000
"""Steps of windows in an epoch from which on ``auto`` means ours: they are compiled once on a machine, for seconds."""


def fused_on_cpu(config: Config, windows: int) -> bool:
    """Say whether a training of so many windows runs ours, if it runs on a CPU.

    It depends on the configuration and the data alone, so that every worker, and who goes on later, says the same.
    """
    if config.train.compile or config.train.precision == "bf16" or _step_by_step(config):
        return False
    chosen = config.cluster.fused_layers
    if chosen == "auto":
        return config.train.precision == "fp32" and windows * config.data.step_len >= LEAST_STEPS
    return chosen


def layers_run(config: Config, windows: int, *, gpu: bool) -> str | None:
    """Name the recurrent layers that a training ran; None where the network has none."""
    if not config.model.recurrent:
        return None
    return FUSED if fused_on_cpu(config, windows) and not gpu else TORCH


def layers_to_run(config: Config) -> str | None:
    """Say which recurrent layers a training would run, as far as that is known before its data are."""
    if not config.model.recurrent:
        return None
    least = -(-LEAST_STEPS // config.data.step_len)
    always, never = fused_on_cpu(config, 0), not fused_on_cpu(config, least)
    if always or never:
        return "fused on a CPU, torch's own on a GPU" if always else "torch's own"
    return f"fused on a CPU with {least:,} windows or more to train on, else torch's own"


def _step_by_step(config: Config) -> bool:
    """Whether the cells are written out in a loop over time, since neither has what is asked."""
    return bool(getattr(config.model, "layer_norm", False))
