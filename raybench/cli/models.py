"""``raybench models``: the networks a configuration can name."""

from __future__ import annotations

import typer

from raybench.cli.output import Output, command
from raybench.config.alpha_names import ALPHA360_FIELDS, ALPHA360_STEPS, BENCHMARK_20
from raybench.config.networks import NETWORKS

ALPHA158_STEPS = 20  # window length of Qlib's benchmarks


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("models")(command(models))


def models(out: Output) -> None:
    """List the networks: parameters in Qlib's benchmark settings, what each needs, its keys."""
    rows = []
    for name, network in sorted(NETWORKS.items()):
        model = network(type=name)
        rows.append(
            {
                "type": name,
                "alpha158": model.parameter_count(len(BENCHMARK_20), ALPHA158_STEPS),
                "alpha360": model.parameter_count(len(ALPHA360_FIELDS), ALPHA360_STEPS),
                "needs": network.needs,
                "keys": model.kwargs,
            }
        )
    out.summary({"models": rows}, title="models: parameters with 20 columns of Alpha158, and with Alpha360")
