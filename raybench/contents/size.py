"""How large what lies at an address is."""

from __future__ import annotations

from raybench.storage import files


def megabytes(uri: str) -> float:
    """Of all files below a folder, or of a file."""
    if not files.is_folder(uri):
        with files.open_input(uri) as stream:
            return round(int(stream.size()) / 1e6, 3)
    return round(sum(files.sizes(uri).values()) / 1e6, 3)
