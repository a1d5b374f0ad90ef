"""The streaming residency: the same samples and windows as a resident panel, one block at a time.

A block is some whole instruments. What needs all rows is found first and kept, because it is small:
the label column through its processors, which rows remain, the fitted parameters (exact: whole columns
are read, a few at a time) and per-date statistics. A block then needs nothing but its own rows.

    plan = plan_stream(spec, bars, features, run=...)       on the driver; gives counts, fitted processors
    arrays = plan.read(group)                                 a task; columns of equal length, for Ray Data
    segments = plan.view.segments(arrays)                     in a worker; window sources and samples

NaN: as in `Panel`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from raybench.config.panel_spec import PanelSpec
from raybench.errors import ConfigError, DataError
from raybench.fanout import Fanout
from raybench.feature_sets.table import FeatureTable
from raybench.feature_sets.table_columns import table_findings
from raybench.market.bars import Bars
from raybench.panel.assemble import LEARN_SEGMENTS, TimeAxes, segments_of
from raybench.panel.build import chain_of, fingerprint, ranges_of, read_before
from raybench.panel.filled import Filled, beside, count_filled
from raybench.panel.findings import (
    ColumnLook,
    joined,
    lines_of,
    look_at,
    look_at_raw,
    training_findings,
)
from raybench.panel.frame import Frame, FramePart, join_parts
from raybench.panel.frame_parts import BarRows
from raybench.panel.reading import Reader, as_they_come, day, make_reader
from raybench.panel.segments import check_samples
from raybench.panel.types import Segment
from raybench.processors import FittedProcessors
from raybench.processors.applied import AppliedStep, fit_columns
from raybench.processors.base import ColumnFilter, Ranking, RowFilter
from raybench.processors.by_date import Float32
from raybench.processors.chain import Chain, Stage, Stages, process
from raybench.processors.column import DateRange
from raybench.processors.fitted import changes_features
from raybench.processors.lags import LagColumns
from raybench.processors.table import ArrayColumns
from raybench.progress import SILENT, Progress
from raybench.reports.text import numbered

Group = tuple[str, ...]
Block = dict[str, npt.NDArray[Any]]
"""Columns of equal length: values [P, F], and of each row its codes, labels and weight (code -1: padding)."""

BLOCK_ROWS = 50_000


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamView:
    """What a worker needs to see a block as segments; small."""

    spec: PanelSpec
    instruments: tuple[str, ...]
    dates: npt.NDArray[np.datetime64]
    fitted: FittedProcessors
    steps: tuple[AppliedStep, ...]
    axes: TimeAxes
    ranges: Mapping[str, DateRange]

    @classmethod
    def of(
        cls,
        spec: PanelSpec,
        frame: Frame,
        kept_R: npt.NDArray[np.bool_],
        ranges: Mapping[str, DateRange],
        fitted: FittedProcessors,
        steps: tuple[AppliedStep, ...],
    ) -> StreamView:
        """What is small of a frame whose rows ``kept_R`` the learn processors keep."""
        every_date = np.arange(len(frame.dates), dtype=np.int32)
        return cls(
            spec=spec,
            instruments=frame.instruments,
            dates=frame.dates,
            fitted=fitted,
            steps=steps,
            axes=TimeAxes(infer=every_date, learn=np.unique(frame.date_R[kept_R])),
            ranges=ranges,
        )

    @property
    def lags(self) -> bool:
        """Whether blocks hold raw fields, to be seen as lags."""
        data = self.spec.data
        return data.feature_set.type == "alpha360" and data.features is None

    def segments(self, block: Block, names: Sequence[str] = LEARN_SEGMENTS) -> dict[str, Segment]:
        """Window sources and samples of a block; segments without a sample in it are there and empty."""
        if len(block["size"]) and int(block["size"][0]) != len(block["size"]):
            raise DataError(
                f"a block of {int(block['size'][0])} rows arrived as {len(block['size'])}: windows need it whole"
            )
        place = np.flatnonzero(block["instrument"] >= 0)
        at = {name: column[place] for name, column in block.items() if name not in ("values", "size")}
        frame = Frame(
            instruments=self.instruments,
            dates=self.dates,
            instrument_R=at["instrument"],
            date_R=at["date"],
            label_R=at["raw_label"],
            weight_R=at.get("weight"),
        )
        every = np.arange(len(place))
        table: ArrayColumns | LagColumns = ArrayColumns(columns=self.fitted.columns, feature_MF=block["values"])
        if self.lags:
            table = LagColumns(
                columns=self.fitted.columns,
                raw_P6=block["values"],
                row_M=place,
                date_M=at["date"],
                run=map,
                steps=self.steps,
            )
        kept = np.flatnonzero(at["kept"])
        done = Stages(
            infer=Stage(table=table, frame_M=every, kept_K=every, label_K=at["infer_label"]),
            learn=Stage(table=table, frame_M=every, kept_K=kept, label_K=at["learn_label"][kept]),
            fitted=self.fitted,
        )
        wanted = {name: self.ranges[name] for name in names}
        return segments_of(self.spec, frame, done, wanted, axes=self.axes)


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamPlan:
    """All that is known of every row but its features. ``groups``: the blocks. Arrays are by frame row [R]."""

    view: StreamView
    reader: Reader
    groups: tuple[Group, ...]
    frame: Frame
    infer_label_R: Float32
    learn_label_R: Float32
    kept_R: npt.NDArray[np.bool_]
    counts: Mapping[str, int]
    fingerprint: str
    warnings: tuple[str, ...] = ()
    filled: Filled | None = None

    @property
    def processors(self) -> FittedProcessors:
        return self.view.fitted

    def read(self, group: Group) -> Block:
        """Read one block, its features processed (lags are processed when they are gathered)."""
        part = _uncounted(self.reader).part(group)
        row_R = self._frame_rows(part)
        date_R = self.frame.date_R[row_R]
        place = np.arange(len(row_R)) if part.row_R is None else part.row_R
        if part.row_R is None:
            for c in range(part.values.shape[1]):
                x_R = part.values[:, c].copy()
                for step in self.view.steps:
                    x_R = step.apply(x_R, c, date_R)
                part.values[:, c] = x_R
        columns = {
            "instrument": self.frame.instrument_R[row_R],
            "date": date_R,
            "raw_label": self.frame.label_R[row_R],
            "infer_label": self.infer_label_R[row_R],
            "learn_label": self.learn_label_R[row_R],
            "kept": self.kept_R[row_R],
        }
        if self.frame.weight_R is not None:
            columns["weight"] = self.frame.weight_R[row_R]
        size = len(part.values)
        block: Block = {"values": part.values, "size": np.full(size, size, np.int64)}
        for name, values in columns.items():
            block[name] = np.full(size, -1, values.dtype) if name == "instrument" else np.zeros(size, values.dtype)
            block[name][place] = values
        return block

    def _frame_rows(self, part: FramePart) -> npt.NDArray[np.int64]:
        """Where the rows of a part are in the frame: both are sorted by instrument and date."""
        names = np.array(self.frame.instruments)
        codes = np.searchsorted(names, [part.instruments[code] for code in np.unique(part.code_R)])
        begins = np.searchsorted(self.frame.instrument_R, codes, side="left")
        ends = np.searchsorted(self.frame.instrument_R, codes, side="right")
        spans = [np.arange(a, b) for a, b in zip(begins, ends, strict=True)]
        rows: npt.NDArray[np.int64] = np.concatenate([np.empty(0, np.int64), *spans])
        if len(rows) != len(part.code_R):
            raise DataError(f"the data changed while they were read: {len(part.code_R)} rows where {len(rows)} were")
        return rows


def plan_stream(
    spec: PanelSpec,
    bars: Bars | None,
    features: FeatureTable | None,
    *,
    run: Fanout = map,
    processors: FittedProcessors | None = None,
    block_rows: int = BLOCK_ROWS,
    progress: Progress = SILENT,
) -> StreamPlan:
    """Find out all that needs every row; processors are fitted unless given."""
    ranges = ranges_of(spec)
    chain = chain_of(spec, features, processors)
    check_streamable(chain)
    first, last = day(spec.data.first_date), max(last for _, last in ranges.values())
    reader = make_reader(spec, bars, features, chain.columns, first, last, need_label=True)
    groups = reader.groups(block_rows)
    frame = _read_labels(reader, groups, run, progress)
    if not len(frame):
        raise DataError(f"no row of the universe from {first} to {last}; change data.segments or data.universe")
    nothing = ArrayColumns(columns=(), feature_MF=np.empty((len(frame), 0), np.float32))
    done = process(chain, nothing, frame.label_R, frame.rows(ranges["train"]), fitted=processors)
    assert done.learn is not None
    own = spec.data.feature_set.type == "table"
    steps, looked, counted = _feature_steps(chain, reader, frame, ranges["train"], processors, run, progress, own=own)
    learn_label_R, kept_R = np.full(len(frame), np.nan, np.float32), np.zeros(len(frame), np.bool_)
    learn_label_R[done.learn.kept_K], kept_R[done.learn.kept_K] = done.learn.label_K, True
    view = StreamView.of(spec, frame, kept_R, ranges, _with_features(done.fitted, steps), steps)
    samples = {name: segment.samples for name, segment in segments_of(spec, frame, done, ranges, flat=True).items()}
    odd, filled = [*table_findings(spec, features), *lines_of(looked)], frame.filled or beside(counted)
    before = read_before(spec, frame, bars, features)
    odd += training_findings(
        chain, frame, done.learn, samples, ranges, step_len=spec.data.step_len, before=before, filled=filled
    )
    for name, of_segment in samples.items():
        check_samples(name, ranges[name], frame, of_segment)
    return StreamPlan(
        view=view,
        reader=reader,
        groups=tuple(groups),
        frame=frame,
        infer_label_R=done.infer.label_K,
        learn_label_R=learn_label_R,
        kept_R=kept_R,
        counts={name: len(of_segment) for name, of_segment in samples.items()},
        fingerprint=fingerprint(spec, bars, features),
        warnings=tuple(odd),
        filled=filled,
    )


def _read_labels(reader: Reader, groups: Sequence[Group], run: Fanout, progress: Progress) -> Frame:
    """The rows of all groups with their labels, and none of their features."""
    with progress.track("reading labels", len(groups)) as advance:
        return join_parts(as_they_come(run(reader.keys, groups), advance))[0]


def check_streamable(chain: Chain) -> None:
    """What needs all features at once cannot be streamed."""
    for processor in (*chain.infer, *chain.learn):
        whole = isinstance(processor, Ranking | RowFilter) and "feature" in processor.groups
        if whole or (processor in chain.learn and changes_features(processor)):
            raise ConfigError(
                f"data.residency: streaming cannot run {type(processor).__name__} on features, which needs all of "
                "them at once; set data.residency: resident, or give it fields_group: label"
            )


def _feature_steps(
    chain: Chain,
    reader: Reader,
    frame: Frame,
    train: DateRange,
    fitted: FittedProcessors | None,
    run: Fanout,
    progress: Progress,
    *,
    own: bool,
) -> tuple[tuple[AppliedStep, ...], list[ColumnLook], list[Filled]]:
    """The infer steps of the feature columns with all their numbers, and what was seen of the columns on the way.

    Numbers are counted where nobody counted them, as those of fields were with the labels.
    """
    of_feature = [i for i, p in enumerate(chain.infer) if changes_features(p) and not isinstance(p, ColumnFilter)]
    steps, rows = [chain.infer[i] for i in of_feature], frame.rows(train)
    empty = np.zeros((0, len(chain.columns)), np.float32)
    params = None
    if fitted is not None:
        known = [fitted.infer[i].feature_PF for i in of_feature]
        params = [empty if step_PF is None else step_PF for step_PF in known]
    doing = "looking at" if not steps else "fitting" if fitted is None else "computing per-date statistics of"
    progress.note(f"{doing} {numbered(len(chain.columns), 'column|columns')}")
    if reader.columns is not None:
        look, read = partial(_look, frame, train, own), partial(_read_columns, _uncounted(reader))
        taken, seen = fit_columns(steps, chain.columns, read, rows, look, params=params, run=run)
        return taken, [looked for looked, _ in seen], [filled for _, filled in seen if filled is not None]
    if not steps:
        return (), [joined(list(run(partial(_look_at_lags, reader, chain.columns), reader.groups())))], []
    _, raw_P6, place_R = join_parts(run(reader.part, reader.groups()))
    assert place_R is not None
    looked = look_at_raw(chain.columns, raw_P6)
    lags = LagColumns(columns=chain.columns, raw_P6=raw_P6, row_M=place_R, date_M=rows.by_date.date_R, run=run)
    return lags.process(steps, rows, params).table.steps, [looked], []


def _uncounted(reader: Reader) -> Reader:
    return replace(reader, counted=()) if isinstance(reader, BarRows) else reader


def _look(
    frame: Frame,
    train: DateRange,
    own: bool,
    columns: tuple[str, ...],
    feature_MF: Float32,
) -> tuple[ColumnLook, Filled | None]:
    filled = None
    if frame.filled is None:
        filled = count_filled(dict(zip(columns, feature_MF.T, strict=True)), frame.dates[frame.date_R])
    return look_at(columns, feature_MF, frame=frame, train=train, own=own), filled


def _look_at_lags(reader: Reader, columns: tuple[str, ...], group: Group) -> ColumnLook:
    return look_at_raw(columns, reader.part(group).values)


def _read_columns(reader: Reader, columns: tuple[str, ...]) -> Float32:
    """Some columns of all rows [R, C], read group by group."""
    narrow = replace(reader, columns=columns)
    return join_parts(narrow.part(group) for group in narrow.groups())[1]


def _with_features(fitted: FittedProcessors, steps: Sequence[AppliedStep]) -> FittedProcessors:
    """The processors with the parameters of the feature columns filled in."""
    numbers = iter(steps)
    infer = []
    for step in fitted.infer:
        if changes_features(step.processor) and not isinstance(step.processor, ColumnFilter):
            params = next(numbers).params_PC
            step = replace(step, feature_PF=params if len(params) else None)
        infer.append(step)
    return replace(fitted, infer=tuple(infer))
