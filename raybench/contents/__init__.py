"""What lies at an address, in figures: dataset, feature table, run, seeds, search, bench, score table."""

__all__ = ["describe"]
