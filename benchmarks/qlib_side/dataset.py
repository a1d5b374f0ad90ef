"""Qlib's side of ``benchmarks/memory.py``: handler and dataset as ``fit`` uses them, nothing trained.

python dataset.py CASE_AS_JSON
"""

from __future__ import annotations

import json
import sys
import time

import qlib
from train import make_dataset


def main() -> None:
    """Build, prepare what GRU.fit prepares, hold it for a moment so that it is seen."""
    case = json.loads(sys.argv[1])
    qlib.init(provider_uri=case["provider"], region="cn", logging_level=40)
    dataset = make_dataset(case)
    held = [dataset.prepare(name, col_set=["feature", "label"], data_key="learn") for name in ("train", "valid")]
    held = [table.dropna() for table in held]
    time.sleep(2)
    print(json.dumps({"rows": sum(map(len, held))}))


if __name__ == "__main__":
    main()
