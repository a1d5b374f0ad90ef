"""The panel: everything a training or scoring run needs, as a few arrays that are shared once per node.

A segment is a window source and its samples. Samples name rows of the source, so a window is gathered
where it is used and never stored. NaN: ``label_S`` has none in train and valid under recipe raybench;
test and score segments hold every row of the universe, with NaN where there is no label; a segment "memory"
has those with a label, for networks that remember their losses.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt

from raybench.market.concepts import Memberships
from raybench.panel.filled import Filled
from raybench.panel.row_hashes import RowHashes
from raybench.panel.windows import WindowSource
from raybench.processors import FittedProcessors
from raybench.storage.arrays import Arrays


@dataclass(frozen=True, slots=True, kw_only=True)
class Samples:
    """Which windows a segment has, and what they should predict.

    row_S: row ids of the source. date_S, instrument_S: codes into the panel's ``dates``, ``instruments``.
    label_S: as the processors leave it. raw_label_S: as computed. weight_S: loss weights (a missing one
    is 0), or None. second_row_S: row ids of the second source, -1 for zeros; None without a second window.
    Sorted by (date, instrument); under recipe qlib with rows from a table by (instrument, date), as Qlib
    reads them.
    """

    row_S: npt.NDArray[np.int64]
    date_S: npt.NDArray[np.int32]
    instrument_S: npt.NDArray[np.int32]
    label_S: npt.NDArray[np.float32]
    raw_label_S: npt.NDArray[np.float32]
    weight_S: npt.NDArray[np.float32] | None = None
    second_row_S: npt.NDArray[np.int64] | None = None

    def __len__(self) -> int:
        return len(self.row_S)

    def take(self, index: npt.NDArray[np.int64] | npt.NDArray[np.bool_] | slice) -> Samples:
        """The samples at these positions."""
        return Samples(**{name: array[index] for name, array in self.arrays().items()})

    def arrays(self) -> Arrays:
        """The arrays by name; what is None has no entry."""
        named = {f.name: getattr(self, f.name) for f in fields(self)}
        return {name: array for name, array in named.items() if array is not None}


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """A window source and the samples to take from it.

    ``memberships``: the concepts of instruments by date. ``second``: the source of the samples' second windows.
    """

    source: WindowSource
    samples: Samples
    memberships: Memberships | None = None
    second: WindowSource | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """Segments over one set of instruments [N] and dates [T], with the processors their rows went through.

    ``second_processors``: those of the rows of the second window, if there is one. ``warnings``: what is odd about the
    data that were learned from, a line each; ``filled``: the numbers of each day that features were made from;
    ``hashes``: of the rows that each day to be scored is made from, by source; ``traded``: how many members have a bar
    on each day that was read. These stay where the panel was made.
    """

    instruments: tuple[str, ...]
    dates: npt.NDArray[np.datetime64]
    segments: Mapping[str, Segment]
    columns: tuple[str, ...]
    processors: FittedProcessors
    fingerprint: str
    second_processors: FittedProcessors | None = None
    warnings: tuple[str, ...] = ()
    filled: Filled | None = None
    hashes: tuple[RowHashes, ...] = ()
    traded: Filled | None = None

    @property
    def counts(self) -> dict[str, int]:
        """Samples of each segment."""
        return {name: len(segment.samples) for name, segment in self.segments.items()}

    @property
    def num_features(self) -> int:
        return next(iter(self.segments.values())).source.num_features

    @property
    def step_len(self) -> int:
        return next(iter(self.segments.values())).source.step_len

    @property
    def nbytes(self) -> int:
        """Bytes of all arrays, each buffer counted once."""
        parts = [segment.source.arrays() for segment in self.segments.values()]
        parts += [segment.samples.arrays() for segment in self.segments.values()]
        parts += [s.memberships.arrays() for s in self.segments.values() if s.memberships is not None]
        parts += [segment.second.arrays() for segment in self.segments.values() if segment.second is not None]
        parts.append({"dates": self.dates})
        buffers = {a.__array_interface__["data"][0]: a.nbytes for part in parts for a in part.values()}
        return sum(buffers.values())
