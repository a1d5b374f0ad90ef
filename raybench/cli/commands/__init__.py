"""The commands, a file each."""

__all__ = []
