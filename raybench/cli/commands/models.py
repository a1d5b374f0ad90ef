"""``raybench models``: the networks a configuration can name, and the keys of one."""

from __future__ import annotations

from typing import Annotated

import typer

from raybench.cli.output import Output, command
from raybench.config.common.strict import nearest
from raybench.config.networks import NETWORKS
from raybench.config.networks.meanings import keys_of
from raybench.config.size import benchmark, benchmark_parameters
from raybench.errors import ConfigError
from raybench.reports.text import numbered


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("models")(command(models))


def beginning_with(incomplete: str) -> list[str]:
    """Name the networks that begin so, for tab completion."""
    return [name for name in sorted(NETWORKS) if name.startswith(incomplete)]


NetworkArgument = Annotated[
    str | None,
    typer.Argument(
        metavar="NETWORK", help="Show the keys of this one.", autocompletion=beginning_with, show_default=False
    ),
]


def models(out: Output, network: NetworkArgument = None) -> None:
    """List the networks, with their size in Qlib's benchmark settings, or show the keys of one."""
    if network is not None:
        _show_one(out, network)
        return
    rows = [
        {"type": name, **_sizes(name), "needs": kind.needs, "keys": kind(type=name).kwargs}
        for name, kind in sorted(NETWORKS.items())
    ]
    if not out.as_json and not out.verbose:
        rows = [{key: value for key, value in row.items() if key != "keys"} for row in rows]
    title = "models: parameters in Qlib's benchmark settings (Alpha158: 20 columns, or all)"
    out.summary({"models": rows}, title=title, then=("models", "gru"))


def _show_one(out: Output, name: str) -> None:
    if name not in NETWORKS:
        raise ConfigError(f"no network {name!r}; {nearest(name, NETWORKS)} (see raybench models)")
    kind = NETWORKS[name]
    keys = [{"key": f"model.{key}", "default": value, "what it is": what} for key, value, what in keys_of(kind)]
    what = (kind.__doc__ or "").strip().partition("\n")[0]
    at = benchmark(name, "alpha158")
    out.summary(
        {
            "type": name,
            "parameters": _sizes(name),
            "alpha158 is": f"{numbered(at.num_features, 'feature|features')}, windows of {at.step_len}",
            "needs": kind.needs,
            "keys": keys,
        },
        title=f"{name}: {what}",
        then=("check", f"configs/{name}_alpha158.yaml"),
    )


def _sizes(name: str) -> dict[str, int | None]:
    return {kind: benchmark_parameters(name, kind) for kind in ("alpha158", "alpha360")}
