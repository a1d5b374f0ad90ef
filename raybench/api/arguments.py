"""What the verbs are given: places, frames, runs and dates, however a person has them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from raybench.api.placing import Place
from raybench.api.runs import Runs
from raybench.columns.frames import is_frame
from raybench.columns.moments import Moment
from raybench.errors import ArgumentError
from raybench.runs import artifact

Frame = Any
"""A frame of pandas or polars, or a series; see ``columns.frames``."""

Models = artifact.StoredRun | Runs | Place | Sequence[artifact.StoredRun | Runs | Place]
"""A run, or its address; several, or the runs of several seeds, are combined."""


def addresses_of(model: Models | None, models: Models | None) -> list[str]:
    """Runs as addresses: a run is given as one, or as what ``train`` returned, or several of either."""
    if model is not None and models is not None:
        raise ArgumentError("model= and models= are the same; give one of them")
    given = models if model is None else model
    several = given if isinstance(given, (list, tuple)) else [given]
    if given is None or not several:
        raise ArgumentError("model= is missing: a run, its address, or a list of them")
    return [address_of_run(each) for each in several]


def address_of_run(model: Any) -> str:
    """The address of a run that was given as one, or as what ``train`` returned."""
    if isinstance(model, (artifact.StoredRun, Runs)):
        return model.uri
    if not isinstance(model, (str, os.PathLike)):
        raise ArgumentError(f"model= is a {type(model).__name__}; want a run, its address, or a list of them")
    return os.fspath(model)


def address(place: Place | None) -> str | None:
    """An address as text."""
    return None if place is None else os.fspath(place)


def date_text(when: Moment | None, name: str) -> str | None:
    """A date that was given as the argument ``name``, as text."""
    if is_frame(when) and hasattr(when, "__len__"):
        raise ArgumentError(f"{name}= is a {type(when).__name__}; want a date as 2020-01-31")
    return None if when is None else str(when)
