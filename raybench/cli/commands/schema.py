"""``raybench schema``: the JSON schema of configurations, for editors."""

from __future__ import annotations

from typing import Annotated

import typer

from raybench.cli.output import Output, command
from raybench.config.common.strict import nearest
from raybench.config.json_schema import config_schema, daily_schema
from raybench.errors import ConfigError

KINDS = {"config": config_schema, "daily": daily_schema}


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("schema")(command(schema))


def schema(
    out: Output,
    kind: Annotated[
        str, typer.Argument(metavar="[KIND]", help="config: what is trained; daily: what raybench daily is given.")
    ] = "config",
) -> None:
    """Print the JSON schema of configurations, by which editors complete keys and mark what is wrong.

    A configuration names it in its first line: # yaml-language-server: $schema=raybench.schema.json
    """
    if kind not in KINDS:
        raise ConfigError(f"KIND {kind!r}: is not known; {nearest(kind, tuple(KINDS))}")
    out.document(KINDS[kind]())
