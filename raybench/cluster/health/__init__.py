"""What works on this machine, check by check: each in a process of its own, with a limit, leaving nothing behind."""

__all__ = ["doctor", "outcome"]
