"""``raybench schema``: the JSON schema of configurations, for editors."""

from __future__ import annotations

import typer

from raybench.cli.output import Output, command
from raybench.config.json_schema import config_schema


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("schema")(command(schema))


def schema(out: Output) -> None:
    """Print the JSON schema of configurations, by which editors complete keys and mark what is wrong.

    A configuration names it in its first line: # yaml-language-server: $schema=raybench.schema.json
    """
    out.document(config_schema())
