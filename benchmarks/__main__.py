"""Every benchmark, one after the other, each in a process of its own (``make bench``)."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

SCRIPTS = (
    "features",
    "train_alpha158",
    "train_alpha360",
    "scoring",
    "one_date",
    "search",
    "workers",
    "packing",
    "memory",
    "preparation",
    "gpu",
    "networks",
)


def main() -> None:
    """Run them all and fail at the end if one of them failed."""
    failed = []
    for name in SCRIPTS:
        print(f"== {name}", flush=True)
        script = str(Path(__file__).with_name(f"{name}.py"))
        if subprocess.run([sys.executable, script], check=False).returncode:
            failed.append(name)
    if failed:
        raise SystemExit(f"failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
