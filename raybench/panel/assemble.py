"""From processed stages to segments: window sources, and the samples to take from them.

Recipe raybench takes every window from the infer stage; its samples are the rows that have a label.
Recipe qlib takes train and valid windows from the learn stage, where a row without label is missing
from the windows around it too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from raybench.config.panel_spec import PanelSpec
from raybench.config.schema import TimeDecayWeight
from raybench.panel.frame import Frame
from raybench.panel.segments import SampleRules, samples_of
from raybench.panel.types import Segment
from raybench.panel.windows import FlatWindows, LagWindows, RowWindows, WindowSource, window_grid
from raybench.panel.windows.lag import steps_of
from raybench.processors.chain import Stage, Stages
from raybench.processors.column import DateRange, in_range
from raybench.processors.lags import LagColumns
from raybench.processors.table import ArrayColumns
from raybench.storage.arrays import as_tensor

LEARN_SEGMENTS = ("train", "valid")


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeAxes:
    """Date codes of the windows' time axes; None: the dates of the rows at hand, which are all there are."""

    infer: npt.NDArray[np.int32] | None = None
    learn: npt.NDArray[np.int32] | None = None


OWN_DATES = TimeAxes()


def segments_of(
    spec: PanelSpec,
    frame: Frame,
    done: Stages,
    ranges: Mapping[str, DateRange],
    *,
    flat: bool | None = None,
    axes: TimeAxes = OWN_DATES,
) -> dict[str, Segment]:
    """Sources and samples of each segment, by the recipe. ``flat``: table rows are whole windows, as the spec says."""
    flat = spec.flat if flat is None else flat
    qlib = spec.recipe == "qlib"
    sources = _Sources(frame=frame, flat=flat, step_len=spec.data.step_len)
    infer = sources.of(done.infer, axes.infer)
    learn = infer
    if qlib and done.learn is not None:
        reaching = [dates for name, dates in ranges.items() if name in LEARN_SEGMENTS]
        floor_R = _reach(frame, reaching, spec.data.step_len)
        learn = sources.of(done.learn, axes.learn, floor_R)
    weight = spec.sample_weight
    rules = SampleRules(
        embargo=spec.data.embargo,
        labelled=not qlib,
        by_date=flat or not qlib,
        half_life=weight.half_life if isinstance(weight, TimeDecayWeight) else None,
    )
    made: dict[str, Segment] = {}
    for name, dates in ranges.items():
        learned = name in LEARN_SEGMENTS and done.learn is not None
        stage, (source, row_M) = (done.learn, learn) if learned and done.learn else (done.infer, infer)
        of_segment = rules if learned else replace(rules, embargo=0, labelled=False)
        samples = samples_of(frame, stage, row_M, dates, of_segment, weighted=name == "train")
        made[name] = Segment(source=source, samples=samples)
    return made


def labelled_segment(frame: Frame, done: Stages, scored: Segment, dates: DateRange) -> Segment:
    """Every row with a label, that as the learn processors leave it, through the windows of a segment to score."""
    assert done.learn is not None
    table = done.infer.table
    row_M = table.row_M if isinstance(table, LagColumns) else np.arange(table.num_rows)
    label_R = np.full(len(frame), np.nan, np.float32)
    label_R[done.learn.frame_K] = done.learn.label_K
    stage = replace(done.infer, label_K=label_R[done.infer.frame_K])
    samples = samples_of(frame, stage, row_M, dates, SampleRules(), weighted=False)
    return Segment(source=scored.source, samples=samples)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sources:
    """Makes the window source of a stage, and says which of its rows each table row is."""

    frame: Frame
    flat: bool
    step_len: int

    def of(
        self,
        stage: Stage,
        axis: npt.NDArray[np.int32] | None,
        floor_R: npt.NDArray[np.int32] | None = None,
    ) -> tuple[WindowSource, npt.NDArray[np.int64]]:
        table = stage.table
        if isinstance(table, LagColumns):
            return lag_windows(table), table.row_M
        assert isinstance(table, ArrayColumns)
        every = np.arange(table.num_rows)
        if self.flat:
            return FlatWindows.build(table.feature_MF, self.step_len), every
        frame, frame_M = self.frame, stage.frame_M
        keep_M = np.zeros(table.num_rows, np.bool_)
        keep_M[stage.kept_K] = True
        grid = window_grid(
            frame.instrument_R[frame_M],
            frame.date_R[frame_M],
            self.step_len,
            keep_R=keep_M,
            floor_R=None if floor_R is None else floor_R[frame_M],
            axis=axis,
        )
        return RowWindows.build(table.feature_MF, grid, self.step_len), every


def lag_windows(table: LagColumns) -> LagWindows:
    """The windows that lag columns are seen through once they are processed."""
    date_P = None
    if any(step.statistics_TC for step in table.steps):
        date_P = np.zeros(len(table.raw_P6), np.int32)
        date_P[table.row_M] = table.date_M
    steps = [(s.processor, [*s.params_PC, *s.statistics_TC]) for s in table.steps]
    return LagWindows(
        raw_P6=as_tensor(table.raw_P6),
        date_P=None if date_P is None else as_tensor(date_P),
        step_len=table.step_len,
        steps=steps_of(steps, table.step_len),
    )


def _reach(frame: Frame, ranges: Sequence[DateRange], step_len: int) -> npt.NDArray[np.int32]:
    """How far back a window of each row may reach: Qlib reads ``step_len`` dates before a segment [R]."""
    floor_T = np.zeros(len(frame.dates), np.int32)
    for dates in ranges:
        inside = np.flatnonzero(in_range(frame.dates, dates))
        if len(inside):
            floor_T[inside] = max(0, inside[0] - step_len)
    floor_R: npt.NDArray[np.int32] = floor_T[frame.date_R]
    return floor_R
