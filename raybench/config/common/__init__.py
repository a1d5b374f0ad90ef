"""What every part of a configuration has in common, and dates as people write them."""

__all__ = ["dates", "strict"]
