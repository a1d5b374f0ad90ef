"""What a network is called with, and what it may offer beyond a forward pass."""

__all__ = ["direct", "inputs", "objective"]
