"""The verbs as Python has them: paths or frames in, results as objects, errors that speak of arguments."""

__all__ = ["benching", "looking", "mornings", "run", "tables", "training"]
