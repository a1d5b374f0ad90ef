"""How good scores are: figures, daily series and a report."""

__all__ = ["evaluation", "job", "label_table", "origin"]
