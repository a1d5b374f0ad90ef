"""How long the rest of a stage takes, told only when it can be known: from the recent rate, after three steps.

Of steps that are alike and long, such as trainings, it is told roughly: from the mean of all, after two.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

Clock = Callable[[], float]

STEPS = 3  # before which nothing is said
ALIKE_STEPS = 2  # of those that are alike
FEW = 10  # steps of a stage that has fewer are unlike each other: labels, metrics, a report
RECENT_SECONDS = 30.0  # what the rate is taken from, or from the last STEPS steps if they took longer
SHORTEST = 0.5  # seconds over which a rate can be seen


class Pace:
    """Of one stage: steps as they are done, and the time that the rest takes at their rate.

    ``alike``: steps of which several may end at once, some of them done by earlier commands; the first counts, too.
    """

    def __init__(self, clock: Clock, *, alike: bool = False) -> None:
        self._clock, self.alike = clock, alike
        self._steps = 0
        self._marks: deque[tuple[float, int]] = deque([(clock(), 0)])  # when, and how much was done by then

    def step(self, n: int) -> None:
        """Take note that ``n`` more are done; what a stage counts may come in steps of many."""
        if n <= 0:
            return
        now = self._clock()
        if self._steps == 1 and not self.alike:  # the first step has the start of the stage in it
            self._marks.popleft()
        self._steps += 1
        self._marks.append((now, self._marks[-1][1] + n))
        if self.alike:
            if now - self._marks[0][0] < SHORTEST:  # were done before the stage began
                self._marks.popleft()
            return
        while len(self._marks) > STEPS + 1 and now - self._marks[1][0] > RECENT_SECONDS:
            self._marks.popleft()

    def rate(self) -> float | None:
        """Return how many are done in a second, lately; None before it can be said."""
        (began, before), (_, done) = self._marks[0], self._marks[-1]
        seconds = self._clock() - began
        enough = done - before >= ALIKE_STEPS if self.alike else self._steps >= STEPS
        return (done - before) / seconds if enough and seconds >= SHORTEST else None

    def left(self, total: int | None) -> float | None:
        """Return the seconds that the rest takes; None where that cannot be said, or nothing is left."""
        if total is not None and total < FEW and not self.alike:
            return None
        rate = self.rate()
        rest = 0 if total is None else total - self._marks[-1][1]
        return rest / rate if rate and rest > 0 else None
