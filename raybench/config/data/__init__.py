"""The ``data`` part of a configuration: its keys, label expressions, processors and the names of feature sets."""

__all__ = ["alpha_names", "alpha_reach", "label", "processors", "spec"]
