"""Whether the prices of a few bars were restated, as a whole history is after a split or a dividend.

B bars that are there and come again, in the order of time, P prices. A price is restated by one number: times it, or
plus it where a vendor takes dividends off; its volume stays or goes the other way round. The oldest bar that comes
again tells what became of those before it: they were restated with it, or none was. Any other difference is a
correction of the bar. NaN: a price that either lacks takes no part.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

ALIKE, APART = 2e-3, 5e-4  # the prices of one bar by one number, vendors' rounding aside, and by none
CENT = 0.01
FAR = 5  # so many entries without a bar in both, and what comes before is another window

Array = NDArray[np.float64]


def restated(before_BP: Array, now_BP: Array, volume_B2: Array, at_B: NDArray[np.int64]) -> bool:
    """Whether bars were restated, and not corrected; ``volume_B2``: before and now; ``at_B``: where in the calendar.

    Each window of neighbours is looked at: a delivery may hold the newest dates and a bar of last year. Where all there
    is is one bar that could be either, it is taken as restated: the history that is asked for then does no harm.

    >>> before, volume, at = np.array([[8.0, 9.0, 7.0, 8.5], [8.5, 9.5, 8.0, 9.0]]), np.full((2, 2), 50.0), np.arange(2)
    >>> restated(before, before / 2, volume, at), restated(before, before - 0.5, volume, at)
    (True, True)
    >>> restated(before, before, volume + [0, 30], at), restated(before, before + [0, 0, 0, 0.5], volume, at)
    (False, False)
    """
    windows = np.split(np.arange(len(at_B)), np.flatnonzero(np.diff(at_B) > FAR) + 1)
    return any(
        _oldest_is(before_BP[rows], now_BP[rows], volume_B2[rows], alone=len(windows) == 1)
        for rows in windows
        if len(rows)
    )


def _oldest_is(before_BP: Array, now_BP: Array, volume_B2: Array, *, alone: bool) -> bool:
    """Whether the oldest bar of a window was restated; ``alone``: there is no other window."""
    times = [_times(before_P, now_P) for before_P, now_P in zip(before_BP[:2], now_BP[:2], strict=True)]
    if times[0] is None:
        return _plus(before_BP, now_BP)
    if len(times) > 1 and times[1] is not None and abs(times[1] / times[0] - 1) <= 2 * ALIKE:
        return True
    return _volume_fits(volume_B2[0], times[0]) and (alone if len(times) == 1 else _several(now_BP[0]))


def _times(before_P: Array, now_P: Array) -> float | None:
    """The number that all prices of a bar were multiplied by, if there is one."""
    before_P, now_P = _known(before_P, now_P)
    if not len(before_P) or not ((before_P > 0) & (now_P > 0)).all():
        return None
    times = float(np.median(now_P / before_P))
    slack_P = np.maximum(min(ALIKE, abs(times - 1) / 4) * now_P, _rounding(before_P, now_P) * (1 + times) / 2)
    fits = bool((np.abs(now_P - times * before_P) <= slack_P).all())
    return times if fits and abs(times - 1) >= APART else None


def _plus(before_BP: Array, now_BP: Array) -> bool:
    """Whether two bars or more have one number added to all prices."""
    before_P, now_P = _known(before_BP.ravel(), now_BP.ravel())
    if len(before_BP) < 2 or not len(before_P):
        return False
    plus = float(np.median(now_P - before_P))
    slack = max(abs(plus) / 4, _rounding(before_P, now_P))
    apart = abs(plus) >= APART * float(np.median(np.abs(before_P)))
    return apart and bool((np.abs(now_P - before_P - plus) <= slack).all())


def _known(before_P: Array, now_P: Array) -> tuple[Array, Array]:
    known_P = np.isfinite(before_P) & np.isfinite(now_P)
    return before_P[known_P], now_P[known_P]


def _rounding(before_P: Array, now_P: Array) -> float:
    """How far a price may be off for it was rounded: a cent where all are whole cents."""
    cents_P = np.abs(np.concatenate([before_P, now_P])) / CENT
    return CENT * 1.01 if bool((np.abs(cents_P - np.round(cents_P)) <= 1e-3 + 1e-6 * cents_P).all()) else 0.0


def _several(price_P: Array) -> bool:
    """Whether a bar has more than one price: all by one number is no chance then."""
    return bool(np.nanmax(price_P) > np.nanmin(price_P))


def _volume_fits(volume_2: Array, times: float) -> bool:
    """Whether a volume is what it was or goes the other way round; one that is not known says nothing."""
    before, now = volume_2.tolist()
    if not (np.isfinite(before) and np.isfinite(now) and before > 0):
        return True
    return any(abs(now - want) <= max(1.0, 5e-3 * want) for want in (before, before / times))
