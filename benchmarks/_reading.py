"""Rows of bars that a piece of work reads, told by the two places that read them.

python -m benchmarks._reading COUNTS.json daily daily.yaml     # raybench, which leaves the counts in the file
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from raybench.market.bars import BarBlock, Bars
from raybench.storage import parquet


@contextmanager
def counting() -> Iterator[dict[str, int]]:
    """Rows in the row groups that are read, and those of them that are looked at, while the context lasts."""
    counts = {"rows_read": 0, "rows_looked_at": 0}
    block, groups = Bars.block, parquet.read_groups

    def seen(self: Bars, *given: object, **options: object) -> BarBlock:
        found = block(self, *given, **options)  # type: ignore[arg-type]
        counts["rows_looked_at"] += found.rows
        return found

    def read(*given: object, **options: object) -> object:
        table = groups(*given, **options)  # type: ignore[arg-type]
        counts["rows_read"] += table.num_rows
        return table

    Bars.block, parquet.read_groups = seen, read  # type: ignore[method-assign, assignment]
    try:
        yield counts
    finally:
        Bars.block, parquet.read_groups = block, groups  # type: ignore[method-assign]


def main() -> None:
    """Run raybench with the other arguments, and leave the counts in the file that the first one names."""
    from raybench.cli.app import main as raybench

    to, *words = sys.argv[1:]
    sys.argv[1:] = words
    with counting() as counts:
        try:
            raybench()
        finally:
            Path(to).write_text(json.dumps(counts))


if __name__ == "__main__":
    main()
