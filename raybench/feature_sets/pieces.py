"""What the parts of a feature table are made of: some instruments over some hundred entries of the calendar.

R rows. Which instruments are together depends on their names, and where the calendar is cut on its beginning; so a new
date changes the newest piece of each group, and an instrument that is new the pieces of its own group.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from raybench.config.data.alpha_names import ALPHA158_WINDOWS, ALPHA360_STEPS
from raybench.config.data.label import DEFAULT_LABEL, parse_label
from raybench.market.bars import BarBlock, Bars

LOOKBACK = max(ALPHA158_WINDOWS[-1], ALPHA360_STEPS - 1)  # rows that a feature sees before its own
SLICE = 256  # entries of the calendar


@dataclass(frozen=True, slots=True, kw_only=True)
class FeaturePiece:
    """The rows of ``instruments`` from ``first`` to ``last``, the ``slice``-th stretch of the calendar."""

    instruments: tuple[str, ...]
    slice: int
    first: np.datetime64
    last: np.datetime64

    @property
    def stem(self) -> str:
        """How the name of its part begins: parts are in the order of instruments, then of time."""
        return f"part-{re.sub(r'[^A-Za-z0-9.]', '_', self.instruments[0])}-{self.slice:05d}"

    def block(self, bars: Bars, fields: Sequence[str]) -> BarBlock:
        """Read the bars that features and label of its rows look at."""
        calendar = bars.calendar
        stop = int(np.searchsorted(calendar, self.last, side="right")) + parse_label(DEFAULT_LABEL).horizon
        end = calendar[min(stop, len(calendar)) - 1]
        return bars.block(self.instruments, fields, start=self.first, end=end, lookback=LOOKBACK, trailing=True)


def rows_key(request: Mapping[str, Any], block: BarBlock, keep_R: NDArray[np.bool_]) -> str:
    """A hash of rows and of what is made of them; ``keep_R``: those that become rows of the part."""
    digest = hashlib.sha256(json.dumps([request, block.instruments, list(block.fields)]).encode())
    for values in (block.start_N1, block.datetime_R.astype(np.int64), keep_R):
        digest.update(np.ascontiguousarray(values).tobytes())
    for value_R in block.fields.values():
        digest.update(np.where(np.isnan(value_R), np.float32(np.nan), value_R).astype("<f4").tobytes())
    return digest.hexdigest()[:16]


def stable_groups(names: Iterable[str], most: int) -> list[tuple[str, ...]]:
    """Neighbours in groups of at most ``most`` (or one), cut behind names that a hash chooses.

    So one name more changes its own group, and those around it stay as they were.
    """
    groups: list[list[str]] = [[]]
    for name in names:
        groups[-1].append(name)
        chosen = int(hashlib.sha256(name.encode()).hexdigest()[:8], 16) % max(most // 2, 1) == 0
        if len(groups[-1]) >= max(most, 1) or (chosen and len(groups[-1]) >= most / 4):
            groups.append([])
    return [tuple(group) for group in groups if group]
