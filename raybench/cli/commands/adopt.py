"""``raybench adopt``: a run out of weights that were trained elsewhere."""

from __future__ import annotations

from typing import Annotated

import typer

from raybench.cli.config_argument import config_from
from raybench.cli.next_command import after_train
from raybench.cli.output import Output, command
from raybench.cli.run_argument import LocalOption
from raybench.cluster.address import check_named


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("adopt")(command(adopt))


def adopt(
    out: Output,
    weights: Annotated[
        str, typer.Option("--weights", metavar="FILE", help="Qlib's .pkl or .pt state dict, or safetensors.")
    ],
    config: Annotated[str, typer.Option("--config", metavar="CONFIG", help="What the weights were trained on.")],
    to: Annotated[str, typer.Option("--out", metavar="RUN", help="Run directory to write.")],
    local: LocalOption = None,
) -> None:
    """Make a run out of weights trained elsewhere, ready for score."""
    wanted = config_from(config, None)
    if local is not True:
        check_named()
    from raybench.cluster.jobs.adoption import adopt as make

    out.about(run=to)
    out.keeps(f"{to} is no run yet; the same command makes it")
    run = make(wanted, weights=weights, out=to, local=local, progress=out.progress)
    out.summary(
        {
            "run": to,
            "run_id": run.run_id,
            "model": run.manifest["model"],
            "parameters": run.manifest["parameters"],
            "adopted_from": run.manifest["adopted_from"],
            "seconds": run.manifest["seconds"],
        },
        title=f"adopted into {to}",
        told=[f"{run.manifest['model']}, {run.manifest['parameters']:,} parameters", f"from {weights}"],
        then=after_train(to, wanted),
    )
