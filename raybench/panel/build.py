"""Building a panel: read, process, assemble."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from raybench.allocator import give_back_memory, return_memory
from raybench.config.panel_spec import PanelSpec
from raybench.errors import DataError
from raybench.fanout import Fanout
from raybench.feature_sets.table import FeatureTable
from raybench.feature_sets.table_columns import table_findings, used_columns
from raybench.market.bars import Bars, open_bars
from raybench.market.concepts import Concepts, open_concepts
from raybench.panel.assemble import LEARN_SEGMENTS, labelled_segment, segments_of
from raybench.panel.findings import feature_findings, training_findings
from raybench.panel.frame import Frame, Moments
from raybench.panel.frame_parts import BarRows, Day
from raybench.panel.reading import day, knows_label, label_column, load, make_reader
from raybench.panel.reads import has_filter, lead_of, reads_of, second_reads
from raybench.panel.row_hashes import Hashing, concept_hashes
from raybench.panel.second import Clock, SecondRows, whole_days, with_second
from raybench.panel.segments import check_samples
from raybench.panel.types import Panel, Segment
from raybench.processors import FittedProcessors
from raybench.processors.base import Ranking
from raybench.processors.chain import Chain, make_chain, process
from raybench.processors.column import DateRange
from raybench.processors.lags import LagColumns
from raybench.processors.table import ArrayColumns
from raybench.progress import SILENT, Progress

_NO_DATES = np.empty(0, "datetime64[us]")


def build_panel(
    spec: PanelSpec,
    bars: Bars | None,
    features: FeatureTable | None,
    *,
    run: Fanout = map,
    processors: FittedProcessors | None = None,
    second_processors: FittedProcessors | None = None,
    segments: Sequence[str] = LEARN_SEGMENTS,
    progress: Progress = SILENT,
) -> Panel:
    """The panel of ``segments``: a training learns from two of the three, and neither needs nor has the others.

    Processors are fitted unless given.
    """
    if spec.data.feature_set.type != "alpha360":  # hundreds of columns, one after the other in the same memory
        return_memory()
    ranges = ranges_of(spec, segments)
    start, end = day(spec.data.first_date), max(last for _, last in ranges.values())
    chain = chain_of(spec, features, processors)
    frame, table = _load(spec, bars, features, chain, start, end, need_label=True, run=run, progress=progress)
    give_back_memory()  # of the parts that were read: what follows needs pieces of other sizes
    train = spec.data.segments.train
    in_train = (day(train[0]), day(train[1]))
    own = spec.data.feature_set.type == "table"
    odd = [*table_findings(spec, features), *feature_findings(frame, table, in_train, own=own)]
    rows = frame.rows(in_train)
    learn = any(name in LEARN_SEGMENTS for name in ranges)
    progress.note("fitting processors" if processors is None else "applying processors")
    done = process(chain, table, frame.label_R, rows, fitted=processors, learn=learn)
    made = segments_of(spec, frame, done, ranges)
    samples = {name: segment.samples for name, segment in made.items()}
    if done.learn is not None and "train" in made:
        before = read_before(spec, frame, bars, features)
        odd += training_findings(
            chain, frame, done.learn, samples, ranges, step_len=spec.data.step_len, before=before, filled=frame.filled
        )
    for name, of_segment in samples.items():
        check_samples(name, ranges[name], frame, of_segment)
    second = _second_rows(spec, start, end, second_processors, run, progress)
    panel = _panel(spec, frame, made, done.fitted, bars, features, second, progress)
    concepts = panel.segments["train"].memberships if "train" in made else None
    if concepts is not None and not concepts.ever:
        raise DataError(
            f"data.concepts: {spec.data.concepts}: no instrument is in a concept on any date from {start} to {end}; "
            "give a table of these dates"
        )
    return replace(panel, warnings=tuple(odd))


def read_before(spec: PanelSpec, frame: Frame, bars: Bars | None, features: FeatureTable | None) -> int:
    """How many dates before the frame's first are in its windows: Alpha360's are of bars, others of its rows."""
    if spec.data.feature_set.type != "alpha360":
        return 0
    return int((calendar_of(bars, features) < frame.dates[0]).sum()) if features is None else spec.data.step_len


def scoring_panel(
    spec: PanelSpec,
    bars: Bars | None,
    features: FeatureTable | None,
    processors: FittedProcessors,
    start: Day,
    end: Day,
    *,
    second_processors: FittedProcessors | None = None,
    remembers: bool = False,
    labels: bool = True,
    run: Fanout = map,
    progress: Progress = SILENT,
) -> Panel:
    """One segment "score": every row of the universe from ``start`` to ``end``, with its window (or two).

    Dates before ``start`` are read until there are as many as a window has, so a window does not
    depend on which other dates are scored with it. For a network that ``remembers`` its losses there are a window's
    dates more, and a segment "memory": every row with a label from then on. Without ``labels`` nothing behind ``end``
    is read, and a label that looks there is none.
    """
    first, last = day(start), day(end)
    chain = chain_of(spec, features, processors)
    calendar_T = calendar_of(bars, features)
    before_T = calendar_T[calendar_T < first]
    lead = lead_of(spec, remembers=remembers)
    reach = len(before_T) if has_filter(chain) else min(lead, len(before_T))
    days = days_between(calendar_T, first, last)
    while True:
        begin = day(before_T[-reach]) if reach else first
        reader = make_reader(spec, bars, features, chain.columns, begin, last, need_label=False)
        reads = reads_of(spec, chain, from_table=features is not None, label=label_column(reader), remembers=remembers)
        reader = replace(reader, hashing=Hashing.of(reads, days, calendar_T))
        if isinstance(reader, BarRows) and not labels:
            reader = replace(reader, until=last.astype("datetime64[us]"))
        frame, table = load(reader, chain.columns, rank_features=ranks_features(chain), run=run, progress=progress)
        known = int((frame.dates < first).sum())
        if known >= lead or reach == len(before_T):
            break
        reach = min(2 * reach, len(before_T))
    rows = frame.rows((first, last))
    label_R = frame.label_R
    if remembers and not knows_label(spec, features):
        label_R = np.full_like(label_R, np.nan)
    done = process(chain, table, label_R, rows, fitted=processors, learn=remembers)
    scored = replace(done, learn=None)
    made = segments_of(spec, frame, scored, {"score": (first, last)})
    check_samples("score", (first, last), frame, made["score"].samples)
    if remembers:
        made["memory"] = labelled_segment(frame, done, made["score"], (day(frame.dates[0]), last))
    second = _second_rows(spec, first, last, second_processors, run, progress, days)
    return _panel(spec, frame, made, processors, bars, features, second, progress)


def days_between(calendar_T: Moments, first: Day, last: Day) -> Moments:
    """The days from first to last that have an entry in a calendar."""
    days = np.unique(calendar_T[calendar_T >= first].astype("datetime64[D]"))
    return days[days <= last]


def _second_rows(
    spec: PanelSpec,
    first: Day,
    last: Day,
    fitted: FittedProcessors | None,
    run: Fanout,
    progress: Progress,
    scored: Moments = _NO_DATES,
) -> SecondRows | None:
    """Read the second bars up to ``last``, from as far before ``first`` as the oldest window that counts reaches.

    ``scored``: the days of whose rows a hash is taken.
    """
    second, own = spec.data.second, spec.second
    if second is None or own is None:
        return None
    progress.note("reading the second window")
    bars = open_bars(second.bars)
    chain, clock = chain_of(own, None, fitted), Clock(daily=whole_days(bars.calendar), lag_minutes=second.lag_minutes)
    before_T = bars.calendar[clock.known(bars.calendar) < first]
    lead = 2 * second.step_len - 1  # the oldest row that counts, and the window that ends with it
    reach = len(before_T) if has_filter(chain) else min(lead, len(before_T))
    hashing = Hashing.of(second_reads(spec, chain), scored, bars.calendar, clock.known(bars.calendar))
    while True:
        begin = day(before_T[-reach]) if reach else first
        reader = make_reader(own, bars, None, chain.columns, begin, last, need_label=False)
        reader = replace(reader, hashing=hashing if len(scored) else None)
        frame, table = load(reader, chain.columns, rank_features=ranks_features(chain), run=run, progress=progress)
        if int((clock.known(frame.dates) < first).sum()) >= lead or reach == len(before_T):
            break
        reach = min(2 * reach, len(before_T))
    train = spec.data.segments.train
    rows = frame.rows((day(train[0]), day(train[1])))
    done = process(chain, table, frame.label_R, rows, fitted=fitted, learn=False)
    every = segments_of(own, frame, done, {"every": (begin, last)})["every"]
    return SecondRows.of(every, frame, bars=bars, clock=clock, fitted=done.fitted)


def ranges_of(spec: PanelSpec, segments: Sequence[str] = LEARN_SEGMENTS) -> dict[str, DateRange]:
    """The dates of segments, by default of those that a training learns from."""
    return {name: (day(a), day(b)) for name, (a, b) in spec.data.segments.items() if name in segments}


def chain_of(spec: PanelSpec, features: FeatureTable | None, fitted: FittedProcessors | None) -> Chain:
    """The processors as configured, or as fitted where they are."""
    if fitted is not None:
        return Chain(
            table_columns=fitted.table_columns,
            columns=fitted.columns,
            infer=tuple(step.processor for step in fitted.infer),
            learn=tuple(step.processor for step in fitted.learn),
        )
    return make_chain(spec.data.processors, used_columns(spec, features), recipe=spec.recipe)


def ranks_features(chain: Chain) -> bool:
    """Whether a processor needs whole columns of features: Alpha360's lags are then made into a table."""
    return any(isinstance(p, Ranking) and "feature" in p.groups for p in (*chain.infer, *chain.learn))


def _load(
    spec: PanelSpec,
    bars: Bars | None,
    features: FeatureTable | None,
    chain: Chain,
    start: Day,
    end: Day,
    *,
    need_label: bool,
    run: Fanout,
    progress: Progress,
) -> tuple[Frame, ArrayColumns | LagColumns]:
    reader = make_reader(spec, bars, features, chain.columns, start, end, need_label=need_label)
    return load(reader, chain.columns, rank_features=ranks_features(chain), run=run, progress=progress)


def _panel(
    spec: PanelSpec,
    frame: Frame,
    segments: Mapping[str, Segment],
    fitted: FittedProcessors,
    bars: Bars | None,
    features: FeatureTable | None,
    second: SecondRows | None,
    progress: Progress,
) -> Panel:
    concepts = None if spec.data.concepts is None else open_concepts(spec.data.concepts)
    if concepts is not None:
        memberships = concepts.memberships(frame.instruments, frame.dates)
        segments = {name: replace(segment, memberships=memberships) for name, segment in segments.items()}
    hashes = [made for made in (frame.hashes, None if second is None else second.hashes) if made is not None]
    if concepts is not None and frame.hashes is not None:
        hashes.append(concept_hashes(concepts, frame.hashes))
    panel = Panel(
        instruments=frame.instruments,
        dates=frame.dates,
        segments=segments,
        columns=fitted.columns,
        processors=fitted,
        fingerprint=fingerprint(spec, bars, features, concepts, None if second is None else second.bars),
        filled=frame.filled,
        hashes=tuple(hashes),
        traded=frame.traded,
    )
    if second is None:
        return panel
    return with_second(panel, second, calendar_of(bars, features), progress=progress)


def calendar_of(bars: Bars | None, features: FeatureTable | None) -> Moments:
    """Every datetime there is; none without a source."""
    return bars.calendar if bars is not None else features.dates() if features is not None else _NO_DATES


def fingerprint(
    spec: PanelSpec,
    bars: Bars | None,
    features: FeatureTable | None,
    concepts: Concepts | None = None,
    second: Bars | None = None,
) -> str:
    """A hash of what the data are and of every setting that shapes a panel to learn from: its content key.

    Not of where they lie, nor of the test segment, from which nothing is learned.
    """
    places = {"bars", "features", "concepts", "residency", "second", "horizon_given"}  # what shapes nothing
    data = spec.data.model_dump(mode="json", by_alias=True, exclude=places)
    data["segments"] = {name: data["segments"][name] for name in LEARN_SEGMENTS}
    weight = spec.sample_weight
    facts = {
        "bars": None if bars is None else bars.fingerprint,
        "features": None if features is None else features.fingerprint,
        "concepts": None if concepts is None else concepts.fingerprint,
        "data": data,
        "sample_weight": None if weight is None else weight.model_dump(mode="json"),
        "recipe": spec.recipe,
    }
    if second is not None and spec.data.second is not None:
        settings = spec.data.second.model_dump(mode="json", by_alias=True, exclude={"bars"})
        facts["second"] = {"bars": second.fingerprint, **settings}
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
