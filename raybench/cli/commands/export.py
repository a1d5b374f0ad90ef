"""``raybench export``: a run in a form that other programs read."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from raybench.cli.output import Output, command
from raybench.cli.run_argument import TrustOption


class Format(StrEnum):
    """What can be written."""

    ONNX = "onnx"


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("export")(command(export))


def export(
    out: Output,
    model: Annotated[str, typer.Option("--model", metavar="RUN", help="Run whose network is written.")],
    to: Annotated[str, typer.Option("--to", metavar="FILE", help="File to write, local or s3://.")],
    format: Annotated[Format, typer.Option("--format", help="onnx: the network, checked with onnxruntime.")],
    trust: TrustOption = False,
) -> None:
    """Write the network of a run for programs without raybench."""
    from raybench.scoring.onnx import export_onnx

    assert format is Format.ONNX
    out.keeps(f"{to} is as it was; the same command writes it")
    done = export_onnx(model, to=to, trust=trust)
    out.summary(
        {
            "file": to,
            "format": format.value,
            "run_id": done.run_id,
            "inputs": {name: list(axes) for name, axes in done.inputs.items()},
            "difference_to_torch": done.difference,
            "bytes": done.bytes,
        },
        title=f"exported to {to}",
        told=[
            *(f"input {name}: [{', '.join(map(str, axes))}]" for name, axes in done.inputs.items()),
            f"scores differ from torch by {done.difference:.1g} at most; {done.bytes:,} bytes",
        ],
    )
