"""The run directory: what it holds, how it is read safely, and which runs lie in a folder."""

__all__ = ["artifact", "described", "events", "folders", "listing", "seeds"]
