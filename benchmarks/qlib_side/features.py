"""Qlib's side of ``benchmarks/features.py``; runs in an environment with pyqlib.

    python features.py PROVIDER UNIVERSE START END KERNELS OUT.parquet

Builds Alpha158 without processors, prints ``{"rows": ..., "seconds": ...}`` of that, then writes it to Parquet.
"""

from __future__ import annotations

import json
import sys
import time


def main() -> None:
    """Build, measure, write."""
    provider, universe, start, end, kernels, out = sys.argv[1:]
    import qlib
    from qlib.contrib.data.handler import Alpha158

    qlib.init(provider_uri=provider, region="cn", kernels=int(kernels), logging_level=40)
    began = time.perf_counter()
    handler = Alpha158(instruments=universe, start_time=start, end_time=end, infer_processors=[], learn_processors=[])
    frame = handler.fetch(col_set="__all", data_key="raw")
    seconds = time.perf_counter() - began
    frame.reset_index().to_parquet(out)
    print(json.dumps({"rows": len(frame), "seconds": seconds}))


if __name__ == "__main__":
    main()
