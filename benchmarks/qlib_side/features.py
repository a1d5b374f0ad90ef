"""Qlib's side of ``benchmarks/features.py``; runs in an environment with pyqlib.

Its argument is a case as JSON: provider, universe, start, end, kernels (processes), to (a Parquet file).
Builds Alpha158 without processors, writes it, and prints ``{"rows": ..., "seconds": ...}`` of the building.
"""

from __future__ import annotations

import json
import sys
import time


def main() -> None:
    """Build, measure, write."""
    case = json.loads(sys.argv[1])
    import qlib
    from qlib.contrib.data.handler import Alpha158

    qlib.init(provider_uri=case["provider"], region="cn", kernels=case["kernels"], logging_level=40)
    began = time.perf_counter()
    handler = Alpha158(
        instruments=case["universe"],
        start_time=case["start"],
        end_time=case["end"],
        infer_processors=[],
        learn_processors=[],
    )
    frame = handler.fetch(col_set="__all", data_key="raw")
    seconds = time.perf_counter() - began
    frame.reset_index().to_parquet(case["to"])
    print(json.dumps({"rows": len(frame), "seconds": seconds}))


if __name__ == "__main__":
    main()
