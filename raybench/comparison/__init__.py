"""Finished runs side by side: each on its test dates, the table of results, the report."""

__all__ = [
    "asked",
    "fits",
    "job",
    "judging",
    "ledger",
    "on_test",
    "order",
    "paired",
    "report",
    "results",
    "stitching",
    "table",
]
