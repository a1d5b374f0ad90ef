"""Type command lines, one after the other, in one process with one Ray: its arguments are a JSON list of lists.

Prints, as the last line, a JSON list of [exit code, last line of standard output, standard error] for each.
"""

from __future__ import annotations

import io
import json
import sys
from contextlib import redirect_stderr, redirect_stdout


def typed(line: list[str]) -> tuple[int, str, str]:
    """Run one command line as the console script does, but for the process."""
    from raybench.cli.app import run

    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        code = run(line)
    return code, (out.getvalue().splitlines() or [""])[-1], err.getvalue()


if __name__ == "__main__":
    from raybench.cluster.session import session

    with session(num_cpus=3):
        results = [typed(line) for line in json.loads(sys.argv[1])]
    print(json.dumps(results))
