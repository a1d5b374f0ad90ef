"""In which order fits are begun: the longest first, so that no long one is left over when the others are done.

How long a fit takes is what the median of its configuration's finished fits took. Before one has ended it is samples x
parameters x epochs at most, in seconds at the rate of the fits that have: only the order counts.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from statistics import median
from typing import TypeVar

Name = str
T = TypeVar("T")


class Durations:
    """What is known of how long fits take, by the name of their configuration."""

    def __init__(self) -> None:
        self._work: dict[Name, float] = {}
        self._seconds: dict[Name, list[float]] = defaultdict(list)

    def expect(self, name: Name, *, samples: int, parameters: int, epochs: int) -> None:
        """Say how much a fit of ``name`` has to do: samples of an epoch, parameters, and epochs at most."""
        self._work[name] = float(max(samples, 1)) * max(parameters, 1) * max(epochs, 1)

    def took(self, name: Name, seconds: float) -> None:
        """Say how long one took."""
        if seconds == seconds:  # not NaN
            self._seconds[name].append(seconds)

    def estimate(self, name: Name) -> float:
        """How long one will take: seconds, or units of work while nobody knows better."""
        if self._seconds[name]:
            return median(self._seconds[name])
        return self._work.get(name, 0.0) * self._rate()

    def longest(self, waiting: Iterable[tuple[Name, T]]) -> T | None:
        """Of those that wait the one that takes longest, of equal ones the first; None without any."""
        found = max(waiting, key=lambda each: self.estimate(each[0]), default=None)
        return None if found is None else found[1]

    def _rate(self) -> float:
        """Seconds for a unit of work."""
        known = [
            median(seconds) / self._work[name]
            for name, seconds in self._seconds.items()
            if seconds and self._work.get(name)
        ]
        return median(known) if known else 1.0
