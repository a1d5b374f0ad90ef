"""Search over configurations: which trials there are, what became of them, and what they say about each key."""

__all__ = ["advice", "draws", "folder", "importance", "ledger", "report", "reported"]
