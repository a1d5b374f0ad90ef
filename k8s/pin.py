"""A file of requirements with hashes, for the image, out of what pip would install here: Linux, Python 3.11.

    pip install --dry-run --ignore-installed --report report.json -c constraints.txt ".[lightgbm]"
    python k8s/pin.py report.json > k8s/requirements-cuda.txt

The same with torch's index for the CPU in reach makes requirements-cpu.txt.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

HEAD = "# Made by k8s/pin.py, versions those of constraints.txt. For Linux on x86-64 and Python 3.11."


def pinned(report: Mapping[str, Any]) -> Iterator[str]:
    """Each package of a report of pip, with its version and the hash of its file; ours has none and is left out."""
    found = {}
    for package in report["install"]:
        hashes = package["download_info"].get("archive_info", {}).get("hashes", {})
        name, version = package["metadata"]["name"], package["metadata"]["version"]
        if hashes:
            found[name.lower()] = f"{name}=={version} --hash=sha256:{hashes['sha256']}"
        elif name != "raybench":
            raise SystemExit(f"{name}: the report has no hash of it")
    return (found[name] for name in sorted(found))


if __name__ == "__main__":
    print("\n".join([HEAD, *pinned(json.loads(Path(sys.argv[1]).read_text()))]))
