"""What commands that open a run ask about it."""

from __future__ import annotations

from typing import Annotated

import typer

TrustOption = Annotated[bool, typer.Option("--trust", help="Let the run import a network of its own.")]
