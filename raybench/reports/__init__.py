"""What every report has in common: the looks of its figures, and a page that needs no network."""

__all__ = ["canvas", "cards", "html", "plain", "text"]
