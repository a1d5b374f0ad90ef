"""What commands that open a run ask about it: what it reads, and whether it may bring code."""

from __future__ import annotations

from typing import Annotated

import typer

BarsOption = Annotated[str | None, typer.Option("--bars", metavar="BARS", help="Bars to score from.")]
FeaturesOption = Annotated[
    str | None, typer.Option("--features", metavar="FEATURES", help="Feature table to score from.")
]
ConceptsOption = Annotated[
    str | None,
    typer.Option("--concepts", metavar="FILE", help="Concept table (default: the one the run was trained with)."),
]
SecondOption = Annotated[
    str | None,
    typer.Option("--second", metavar="BARS", help="Bars of the second window (default: those trained on)."),
]
LocalOption = Annotated[
    bool | None,
    typer.Option("--local/--ray", help="This process alone, or Ray (default: Ray where there is much to do)."),
]
TrustOption = Annotated[bool, typer.Option("--trust", help="Let the run import a network of its own.")]
