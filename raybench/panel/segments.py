"""Which samples each segment has: rows of a processed stage within its dates."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from raybench.errors import DataError
from raybench.panel.frame import Frame
from raybench.panel.types import Samples
from raybench.processors.chain import Stage
from raybench.processors.column import DateRange, in_range


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleRules:
    """How samples are chosen and ordered.

    embargo: dates left out at the end of train and valid. labelled: take rows with a label only.
    by_date: order by (date, instrument), else by (instrument, date). half_life: of weights, in dates.
    """

    embargo: int = 0
    labelled: bool = True
    by_date: bool = True
    half_life: float | None = None


def samples_of(
    frame: Frame,
    stage: Stage,
    row_M: npt.NDArray[np.int64],
    segment: DateRange,
    rules: SampleRules,
    *,
    weighted: bool,
) -> Samples:
    """The samples of a stage within a range of dates; ``row_M`` is the source's id of each table row."""
    frame_K = stage.frame_K
    take_K = segment_dates(frame, segment, rules.embargo)[frame.date_R[frame_K]]
    if rules.labelled:
        take_K &= ~np.isnan(stage.label_K)
    index = np.flatnonzero(take_K)
    if rules.by_date:
        index = index[np.argsort(frame.date_R[frame_K[index]], kind="stable")]
    frame_S = frame_K[index]
    date_S = frame.date_R[frame_S]
    return Samples(
        row_S=row_M[stage.kept_K[index]].astype(np.int64),
        date_S=date_S,
        instrument_S=frame.instrument_R[frame_S],
        label_S=stage.label_K[index],
        raw_label_S=frame.label_R[frame_S],
        weight_S=_weights(frame, frame_S, segment, rules) if weighted else None,
    )


def segment_dates(frame: Frame, segment: DateRange, embargo: int) -> npt.NDArray[np.bool_]:
    """Which of the frame's dates belong to a segment, its last ``embargo`` dates left out [T]."""
    inside_T = in_range(frame.dates, segment)
    if embargo:
        inside_T[np.flatnonzero(inside_T)[-embargo:]] = False
    return inside_T


def check_samples(name: str, segment: DateRange, frame: Frame, samples: Samples) -> None:
    """A segment to learn from must have samples, and a label on some of them."""
    what = "the range to score" if name == "score" else f"data.segments.{name}"
    asked = f"{what} ({segment[0]} to {segment[1]})"
    have = f"the data run from {frame.dates[0].astype('datetime64[D]')} to {frame.dates[-1].astype('datetime64[D]')}"
    if not in_range(frame.dates, segment).any():
        raise DataError(f"{asked} has no rows; {have}")
    if name not in ("train", "valid"):
        return
    if not len(samples):
        raise DataError(f"{asked} has no sample with a label ({have}); change its dates, data.label or data.embargo")
    if np.isnan(samples.raw_label_S).all():
        raise DataError(f"{asked} has rows, but every label is NaN; change data.label or the dates")


def _weights(
    frame: Frame, frame_S: npt.NDArray[np.int64], segment: DateRange, rules: SampleRules
) -> npt.NDArray[np.float32] | None:
    if rules.half_life is not None:
        newest = np.flatnonzero(segment_dates(frame, segment, rules.embargo))[-1:].sum()
        age_S: npt.NDArray[np.float64] = (newest - frame.date_R[frame_S]).astype(np.float64)
        weights: npt.NDArray[np.float32] = (0.5 ** (age_S / rules.half_life)).astype(np.float32)
        return weights
    if frame.weight_R is None:
        return None
    weight_S: npt.NDArray[np.float32] = np.nan_to_num(frame.weight_R[frame_S], posinf=np.inf)
    bad = int((~(np.isfinite(weight_S) & (weight_S >= 0))).sum())
    if bad:
        raise DataError(f"train.sample_weight.column: {bad} of {len(weight_S)} weights are negative or infinite")
    if len(weight_S) and not weight_S.any():
        raise DataError("train.sample_weight.column: every weight is 0 or missing, so that nothing would be learned")
    return weight_S
