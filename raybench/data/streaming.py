"""The streaming residency: the same samples and windows as a resident panel, one block at a time.

A block is some whole instruments. What needs all rows is found first and kept, because it is small:
the label column through its processors, which rows remain, the fitted parameters (exact: whole columns
are read, a few at a time) and per-date statistics. A block then needs nothing but its own rows.

    plan = plan_stream(config, bars, features, run=...)       on the driver; gives counts, fitted processors
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

from raybench.config import Config
from raybench.data.bars import Bars
from raybench.data.feature_table import FeatureTable
from raybench.data.frame import Frame, FramePart, Run, join_parts
from raybench.data.panel.assemble import TimeAxes, segments_of
from raybench.data.panel.build import chain_of, fingerprint
from raybench.data.panel.findings import label_findings
from raybench.data.panel.segments import check_samples
from raybench.data.panel.types import Segment
from raybench.data.processors import FittedProcessors
from raybench.data.processors.applied import AppliedStep, fit_columns
from raybench.data.processors.base import ColumnFilter, Ranking, RowFilter
from raybench.data.processors.by_date import Float32
from raybench.data.processors.chain import Chain, Processed, Stage, process
from raybench.data.processors.column import DateRange, Rows
from raybench.data.processors.fitted import changes_features
from raybench.data.processors.lags import LagColumns
from raybench.data.processors.table import ArrayColumns
from raybench.data.reading import Reader, day, make_reader
from raybench.data.table_columns import table_findings
from raybench.errors import ConfigError, DataError
from raybench.progress import SILENT, Progress

Group = tuple[str, ...]
Block = dict[str, npt.NDArray[Any]]
"""Columns of equal length: values [P, F], and of each row its codes, labels and weight (code -1: padding)."""

BLOCK_ROWS = 50_000
SEGMENTS = ("train", "valid", "test")


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamView:
    """What a worker needs to see a block as segments; small."""

    config: Config
    instruments: tuple[str, ...]
    dates: npt.NDArray[np.datetime64]
    fitted: FittedProcessors
    steps: tuple[AppliedStep, ...]
    axes: TimeAxes
    ranges: Mapping[str, DateRange]

    @property
    def lags(self) -> bool:
        """Whether blocks hold raw fields, to be seen as lags."""
        data = self.config.data
        return data.feature_set.type == "alpha360" and data.features is None

    def segments(self, block: Block, names: Sequence[str] = SEGMENTS) -> dict[str, Segment]:
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
        done = Processed(
            infer=Stage(table=table, frame_M=every, kept_K=every, label_K=at["infer_label"]),
            learn=Stage(table=table, frame_M=every, kept_K=kept, label_K=at["learn_label"][kept]),
            fitted=self.fitted,
        )
        wanted = {name: self.ranges[name] for name in names}
        flat = self.config.data.feature_set.type == "alpha360"
        return segments_of(self.config, frame, done, wanted, flat=flat, axes=self.axes)


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

    @property
    def processors(self) -> FittedProcessors:
        return self.view.fitted

    def read(self, group: Group) -> Block:
        """Read one block, its features processed (lags are processed when they are gathered)."""
        part = self.reader.part(group)
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
    config: Config,
    bars: Bars | None,
    features: FeatureTable | None,
    *,
    run: Run = map,
    processors: FittedProcessors | None = None,
    block_rows: int = BLOCK_ROWS,
    progress: Progress = SILENT,
) -> StreamPlan:
    """Find out all that needs every row; processors are fitted unless given."""
    ranges = {name: (day(a), day(b)) for name, (a, b) in config.data.segments.items()}
    chain = chain_of(config, features, processors)
    check_streamable(chain)
    first, last = day(config.data.first_date), ranges["test"][1]
    reader = make_reader(config, bars, features, chain.columns, first, last, need_label=True)
    groups = reader.groups(block_rows)
    with progress.track("reading labels", len(groups)) as advance:
        parts = []
        for part in run(reader.keys, groups):
            parts.append(part)
            advance(1)
    frame, _, _ = join_parts(parts)
    if not len(frame):
        raise DataError(f"no row of the universe from {first} to {last}; change data.segments or data.universe")
    rows = frame.rows(ranges["train"])
    nothing = ArrayColumns(columns=(), feature_MF=np.empty((len(frame), 0), np.float32))
    done = process(chain, nothing, frame.label_R, rows, fitted=processors)
    assert done.learn is not None
    steps = _feature_steps(chain, reader, rows, processors, run, progress)
    learn_label_R, kept_R = np.full(len(frame), np.nan, np.float32), np.zeros(len(frame), np.bool_)
    learn_label_R[done.learn.kept_K], kept_R[done.learn.kept_K] = done.learn.label_K, True
    every_date = np.arange(len(frame.dates), dtype=np.int32)
    view = StreamView(
        config=config,
        instruments=frame.instruments,
        dates=frame.dates,
        fitted=_with_features(done.fitted, steps),
        steps=steps,
        axes=TimeAxes(infer=every_date, learn=np.unique(frame.date_R[kept_R])),
        ranges=ranges,
    )
    samples = {name: segment.samples for name, segment in segments_of(config, frame, done, ranges, flat=True).items()}
    odd = [*table_findings(config, features)]
    odd += label_findings(chain, frame, done.learn, samples["train"], ranges["train"])
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
        fingerprint=fingerprint(config, bars, features),
        warnings=tuple(odd),
    )


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
    rows: Rows,
    fitted: FittedProcessors | None,
    run: Run,
    progress: Progress,
) -> tuple[AppliedStep, ...]:
    """The infer steps of the feature columns with all their numbers."""
    of_feature = [i for i, p in enumerate(chain.infer) if changes_features(p) and not isinstance(p, ColumnFilter)]
    steps = [chain.infer[i] for i in of_feature]
    if not steps:
        return ()
    empty = np.zeros((0, len(chain.columns)), np.float32)
    params = None
    if fitted is not None:
        known = [fitted.infer[i].feature_PF for i in of_feature]
        params = [empty if step_PF is None else step_PF for step_PF in known]
    progress.note(f"fitting {len(chain.columns)} columns" if fitted is None else "computing per-date statistics")
    if reader.columns is None:
        _, raw_P6, place_R = join_parts(run(reader.part, reader.groups()))
        assert place_R is not None
        lags = LagColumns(columns=chain.columns, raw_P6=raw_P6, row_M=place_R, date_M=rows.by_date.date_R, run=run)
        return lags.process(steps, rows, params).table.steps
    return fit_columns(steps, chain.columns, partial(_read_columns, reader), rows, params=params, run=run)


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
