"""All checks of a machine, one after the other, within a minute."""

from __future__ import annotations

import importlib
import time
from collections.abc import Iterator, Sequence
from functools import partial

from raybench.cluster.health.apart import Check, apart, guarded
from raybench.cluster.health.outcome import Outcome, wrong
from raybench.progress import SILENT, Progress

WHOLE_SECONDS = 57.0  # for all checks together
LOOK_AT_TMPDIR = ("temporary files", "ray")  # and tidy up behind themselves
PIP = "install it again, in a fresh environment (pip install raybench)"


def examine(places: Sequence[str], *, progress: Progress = SILENT) -> Iterator[Outcome]:
    """Run every check, those of ``places`` among them, and give each outcome as it comes; none raises."""
    until = time.monotonic() + WHOLE_SECONDS
    checks = _checks(places)
    with progress.track("checks", len(checks)) as advance:
        for name, check, advice, seconds in checks:
            left = min(seconds, until - time.monotonic())
            if left < 1.0:
                yield wrong(name, "was not reached within a minute", "the checks above took too long")
            else:
                own = name not in LOOK_AT_TMPDIR
                yield apart(name, partial(guarded, name, check, advice), left, own_temporary=own)
            advance(1, name)


def _checks(places: Sequence[str]) -> list[tuple[str, Check, str, float]]:
    """Name, check, what to do where it raises, and the most seconds that it may take; what is quick comes first."""
    return [
        ("versions", _named("machine", "versions"), PIP, 10.0),
        ("memory", _named("machine", "memory"), PIP, 10.0),
        ("shared memory", _named("machine", "shared_memory"), PIP, 10.0),
        ("temporary files", _named("machine", "temporary"), PIP, 15.0),
        *((f"place {place}", _named("place", "place_works", place), "choose another place", 20.0) for place in places),
        ("fit", _named("fit", "fit_works"), PIP, 30.0),
        ("gpu", _named("gpu", "gpus"), PIP, 30.0),
        ("ray", _named("ray_start", "ray_works"), "set RAY_ADDRESS=local to run on this machine alone", 40.0),
    ]


def _named(module: str, function: str, *arguments: str) -> Check:
    """A check that is imported in its own process: this one needs none of torch and Ray."""
    return partial(call, f"raybench.cluster.health.{module}", function, *arguments)


def call(module: str, function: str, *arguments: str) -> Outcome:
    """Import a check and run it."""
    found: Outcome = getattr(importlib.import_module(module), function)(*arguments)
    return found
