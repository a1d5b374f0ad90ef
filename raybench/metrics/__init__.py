"""What a signal is worth: IC, Rank IC and their annual figures. Pure functions on arrays."""

__all__ = ["annual", "signal"]
