"""The journal's own process stays small."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import sys, raybench.cluster.journal
print(sorted({"torch", "pandas", "numba", "pyarrow"} & set(sys.modules)))
"""


def test_the_actor_needs_nothing_heavy() -> None:
    """Ray imports the module in a process that only keeps a list; pandas or torch would multiply its size."""
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
