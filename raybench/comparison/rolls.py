"""Rolling segments: train, valid and test step through time, until the configured test dates are covered.

Roll 0 is as configured with its test segment cut to one step; each next one is moved by one step more, as a whole or,
expanding, but for the first train date. The test segments of all rolls follow each other without a gap and end where
the configured one ends.
"""

from __future__ import annotations

import calendar
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from raybench.config import Config, load_config
from raybench.config.data.spec import Segments
from raybench.errors import ConfigError

_STEP = re.compile(r"(\d{1,4})([ymd])")
_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """How far segments move from roll to roll: ``months``, or ``days`` where these are 0."""

    months: int = 0
    days: int = 0

    def after(self, day: date, count: int) -> date:
        """The day ``count`` steps later; the last of its month where that month has no such day."""
        if not self.months:
            return day + timedelta(days=self.days * count)
        month = day.month - 1 + self.months * count
        year, month = day.year + month // 12, month % 12 + 1
        return date(year, month, min(day.day, calendar.monthrange(year, month)[1]))

    def until(self, day: date, count: int) -> date:
        """The same for the last day of a range, which moves as the day after it: no day between two ranges is lost."""
        return self.after(day + _DAY, count) - _DAY


@dataclass(frozen=True, slots=True, kw_only=True)
class Roll:
    """Segments that were moved, called by the first date of their test segment.

    step, count : by how much, and how many times. expanding : whether what begins with train stays where it was
    """

    name: str
    segments: Segments
    step: Step
    count: int
    expanding: bool = False

    def of(self, config: Config) -> Config:
        """``config`` with these segments, and with ``data.start`` and dates that processors are fitted on moved along.

        So that each roll's processors are fitted anew where a configuration names their dates, too.
        """
        tree = config.model_dump(by_alias=True)
        data = tree["data"]
        data["segments"] = self.segments.model_dump()
        data["start"] = self._begin(data["start"])
        for kwargs in _arguments(data, data["second"] or {}):
            if "fit_start_time" in kwargs:
                kwargs["fit_start_time"] = self._begin(kwargs["fit_start_time"])
                kwargs["fit_end_time"] = self._end(kwargs["fit_end_time"])
        return load_config(tree)

    def _begin(self, day: date | None) -> date | None:
        return day if day is None or self.expanding else self.step.after(day, self.count)

    def _end(self, day: date | None) -> date | None:
        return None if day is None else self.step.until(day, self.count)


def _arguments(*parts: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The arguments of every processor of the data and of a second window, to be changed."""
    for part in parts:
        for processors in (part.get("processors") or {}).values():
            yield from (each["kwargs"] for each in processors)


def parse_step(text: str) -> Step:
    """Read ``1y``, ``6m`` or ``60d``; ConfigError for anything else."""
    found = _STEP.fullmatch(text.strip())
    if found is None or int(found[1]) == 0:
        raise ConfigError(f"--rolling is {text!r}; want years, months or days, such as 1y, 6m or 60d")
    count, unit = int(found[1]), found[2]
    return Step(days=count) if unit == "d" else Step(months=count * (12 if unit == "y" else 1))


def rolls_of(segments: Segments, step: Step, *, expanding: bool = False) -> list[Roll]:
    """The rolls of configured ``segments``; ConfigError if one step covers the test segment, or days run out."""
    first, last = segments.test
    rolls: list[Roll] = []
    try:
        while step.after(first, len(rolls)) <= last:
            rolls.append(_roll(segments, step, len(rolls), expanding=expanding))
    except (ValueError, OverflowError):
        raise ConfigError(
            f"data.segments.test ends on {last}, which --rolling cannot step beyond; end it earlier"
        ) from None
    if len(rolls) < 2:
        raise ConfigError(
            f"--rolling gives no roll: one step covers the whole test segment, {first} to {last}; "
            "want a shorter step, or leave --rolling out"
        )
    return rolls


def _roll(segments: Segments, step: Step, count: int, *, expanding: bool) -> Roll:
    def moved(day: date) -> date:
        return step.after(day, count)

    def until(day: date) -> date:
        return step.until(day, count)

    (begin, train_end), (valid, valid_end), (test, test_end) = segments.train, segments.valid, segments.test
    roll = Segments(
        train=(begin if expanding else moved(begin), until(train_end)),
        valid=(moved(valid), until(valid_end)),
        test=(moved(test), min(step.after(test, count + 1) - _DAY, test_end)),
    )
    return Roll(name=str(roll.test[0]), segments=roll, step=step, count=count, expanding=expanding)
