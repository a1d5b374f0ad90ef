"""What networks share."""

__all__ = [
    "batch_norm",
    "cells",
    "convolved",
    "cross_section",
    "encoder",
    "layout",
    "recurrence",
    "recurrent",
    "regularisation",
    "tabnet_layers",
    "tra_backbones",
    "transport",
]
