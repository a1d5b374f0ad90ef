"""Building a panel: read, process, index.

Recipe raybench takes every window from the infer stage; its samples are the rows that have a label.
Recipe qlib takes train and valid windows from the learn stage, where a row without label is missing
from the windows around it too.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from raybench.config import Config
from raybench.config.schema import TimeDecayWeight
from raybench.data.bars import Bars
from raybench.data.feature_table import FeatureTable
from raybench.data.frame import Frame, Run
from raybench.data.frame_parts import Day
from raybench.data.panel.segments import SampleRules, check_samples, samples_of
from raybench.data.panel.types import Panel, Segment
from raybench.data.processors import FittedProcessors
from raybench.data.processors.base import Ranking, RowFilter
from raybench.data.processors.chain import Chain, Processed, Stage, make_chain, process
from raybench.data.processors.column import DateRange, in_range
from raybench.data.processors.lags import LagColumns
from raybench.data.processors.table import ArrayColumns
from raybench.data.reading import Loaded, day, load, make_reader, table_columns
from raybench.data.windows import FlatWindows, LagWindows, RowWindows, WindowSource, window_grid
from raybench.data.windows.lag import steps_of
from raybench.data.windows.source import as_tensor
from raybench.progress import SILENT, Progress

_NO_DATES = np.empty(0, "datetime64[us]")

LEARN_SEGMENTS = ("train", "valid")


def build_panel(
    config: Config,
    bars: Bars | None,
    features: FeatureTable | None,
    *,
    run: Run = map,
    processors: FittedProcessors | None = None,
    segments: Sequence[str] = ("train", "valid", "test"),
    progress: Progress = SILENT,
) -> Panel:
    """The segments of a configuration; processors are fitted unless given."""
    ranges = {name: (day(a), day(b)) for name, (a, b) in config.data.segments.items() if name in segments}
    start, end = day(config.data.first_date), max(last for _, last in ranges.values())
    chain = chain_of(config, features, processors)
    loaded = _load(config, bars, features, chain, start, end, need_label=True, run=run, progress=progress)
    train = config.data.segments.train
    rows = loaded.frame.rows((day(train[0]), day(train[1])))
    learn = any(name in LEARN_SEGMENTS for name in ranges)
    progress.note("fitting processors" if processors is None else "applying processors")
    done = process(chain, loaded.table, loaded.frame.label_R, rows, fitted=processors, learn=learn)
    made = _segments(config, loaded, done, ranges)
    for name, segment in made.items():
        check_samples(name, ranges[name], loaded.frame, segment.samples)
    return _panel(config, loaded.frame, made, done.fitted, bars, features)


def scoring_panel(
    config: Config,
    bars: Bars | None,
    features: FeatureTable | None,
    processors: FittedProcessors,
    start: Day,
    end: Day,
    *,
    run: Run = map,
    progress: Progress = SILENT,
) -> Panel:
    """One segment "score": every row of the universe from ``start`` to ``end``, with its window.

    Dates before ``start`` are read until there are as many as a window has, so a window does not
    depend on which other dates are scored with it.
    """
    first, last = day(start), day(end)
    chain = chain_of(config, features, processors)
    calendar_T = bars.calendar if bars is not None else features.dates() if features is not None else _NO_DATES
    before_T = np.unique(calendar_T[calendar_T < first].astype("datetime64[D]"))
    lead = 0 if config.data.feature_set.type == "alpha360" else config.data.step_len - 1
    filters = any(isinstance(step, RowFilter) for step in chain.infer)
    reach = len(before_T) if filters else min(lead, len(before_T))
    while True:
        begin = before_T[-reach] if reach else first
        loaded = _load(config, bars, features, chain, begin, last, need_label=False, run=run, progress=progress)
        known = int((loaded.frame.dates < first).sum())
        if known >= lead or reach == len(before_T):
            break
        reach = min(2 * reach, len(before_T))
    rows = loaded.frame.rows((first, last))
    done = process(chain, loaded.table, loaded.frame.label_R, rows, fitted=processors, learn=False)
    made = _segments(config, loaded, done, {"score": (first, last)})
    check_samples("score", (first, last), loaded.frame, made["score"].samples)
    return _panel(config, loaded.frame, made, processors, bars, features)


def chain_of(config: Config, features: FeatureTable | None, fitted: FittedProcessors | None) -> Chain:
    """The processors as configured, or as fitted where they are."""
    if fitted is not None:
        return Chain(
            table_columns=fitted.table_columns,
            columns=fitted.columns,
            infer=tuple(step.processor for step in fitted.infer),
            learn=tuple(step.processor for step in fitted.learn),
        )
    given = config.data.processors
    return make_chain(
        [(spec.name, spec.kwargs) for spec in given.infer],
        [(spec.name, spec.kwargs) for spec in given.learn],
        table_columns(config, features),
        recipe=config.recipe,
    )


def _load(
    config: Config,
    bars: Bars | None,
    features: FeatureTable | None,
    chain: Chain,
    start: Day,
    end: Day,
    *,
    need_label: bool,
    run: Run,
    progress: Progress,
) -> Loaded:
    reader = make_reader(config, bars, features, chain.columns, start, end, need_label=need_label)
    ranks = any(isinstance(p, Ranking) and "feature" in p.groups for p in (*chain.infer, *chain.learn))
    flat = config.data.feature_set.type == "alpha360"
    return load(reader, chain.columns, flat=flat, rank_features=ranks, run=run, progress=progress)


def _segments(
    config: Config, loaded: Loaded, done: Processed, ranges: Mapping[str, DateRange]
) -> dict[str, Segment]:
    """Sources and samples of each segment, by the recipe."""
    qlib = config.recipe == "qlib"
    sources = _Sources(loaded=loaded, step_len=config.data.step_len)
    infer = sources.of(done.infer)
    learn = infer
    if qlib and done.learn is not None:
        reaching = [dates for name, dates in ranges.items() if name in LEARN_SEGMENTS]
        floor_R = _reach(loaded.frame, reaching, config.data.step_len)
        learn = sources.of(done.learn, floor_R)
    weight = config.train.sample_weight
    rules = SampleRules(
        embargo=config.data.embargo,
        labelled=not qlib,
        by_date=loaded.flat or not qlib,
        half_life=weight.half_life if isinstance(weight, TimeDecayWeight) else None,
    )
    made: dict[str, Segment] = {}
    for name, dates in ranges.items():
        learned = name in LEARN_SEGMENTS and done.learn is not None
        stage, (source, row_M) = (done.learn, learn) if learned and done.learn else (done.infer, infer)
        of_segment = rules if learned else replace(rules, embargo=0, labelled=False)
        samples = samples_of(loaded.frame, stage, row_M, dates, of_segment, weighted=name == "train")
        made[name] = Segment(source=source, samples=samples)
    return made


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sources:
    """Makes the window source of a stage, and says which of its rows each table row is."""

    loaded: Loaded
    step_len: int

    def of(
        self, stage: Stage, floor_R: npt.NDArray[np.int32] | None = None
    ) -> tuple[WindowSource, npt.NDArray[np.int64]]:
        table = stage.table
        if isinstance(table, LagColumns):
            return lag_windows(table), table.row_M
        assert isinstance(table, ArrayColumns)
        every = np.arange(table.num_rows)
        if self.loaded.flat:
            return FlatWindows.build(table.feature_MF, self.step_len), every
        frame, frame_M = self.loaded.frame, stage.frame_M
        keep_M = np.zeros(table.num_rows, np.bool_)
        keep_M[stage.kept_K] = True
        grid = window_grid(
            frame.instrument_R[frame_M],
            frame.date_R[frame_M],
            self.step_len,
            keep_R=keep_M,
            floor_R=None if floor_R is None else floor_R[frame_M],
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


def _panel(
    config: Config,
    frame: Frame,
    segments: Mapping[str, Segment],
    fitted: FittedProcessors,
    bars: Bars | None,
    features: FeatureTable | None,
) -> Panel:
    return Panel(
        instruments=frame.instruments,
        dates=frame.dates,
        segments=segments,
        columns=fitted.columns,
        processors=fitted,
        fingerprint=fingerprint(config, bars, features),
    )


def fingerprint(config: Config, bars: Bars | None, features: FeatureTable | None) -> str:
    """A hash of what the data are and of every setting that shapes them, not of where they lie."""
    data = config.data.model_dump(mode="json", by_alias=True, exclude={"bars", "features", "residency"})
    weight = config.train.sample_weight
    facts = {
        "bars": None if bars is None else bars.fingerprint,
        "features": None if features is None else features.fingerprint,
        "data": data,
        "sample_weight": None if weight is None else weight.model_dump(mode="json"),
        "recipe": config.recipe,
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
