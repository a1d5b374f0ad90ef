"""What the scripts of this folder share: each is a command of raybench, run from the folder it was submitted with."""

from __future__ import annotations

import sys
from pathlib import Path


def run(command: str) -> None:
    """Run ``raybench COMMAND`` with the arguments of this script, and end with its exit code."""
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the code that was submitted, not what is installed
    from raybench.cli.app import main

    sys.argv[1:1] = [command]
    main()
