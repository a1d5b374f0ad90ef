"""Building a panel: read, process, assemble."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from raybench.config import Config
from raybench.data.bars import Bars, open_bars
from raybench.data.concepts import Concepts, open_concepts
from raybench.data.feature_table import FeatureTable
from raybench.data.frame import Frame, Moments, Run
from raybench.data.frame_parts import Day
from raybench.data.panel.assemble import LEARN_SEGMENTS, labelled_segment, segments_of
from raybench.data.panel.findings import feature_findings, label_findings
from raybench.data.panel.second import Clock, SecondRows, whole_days, with_second
from raybench.data.panel.segments import check_samples
from raybench.data.panel.types import Panel, Segment
from raybench.data.processors import FittedProcessors
from raybench.data.processors.base import Ranking, RowFilter
from raybench.data.processors.chain import Chain, make_chain, process
from raybench.data.reading import Loaded, day, knows_label, load, make_reader
from raybench.data.table_columns import table_findings, used_columns
from raybench.progress import SILENT, Progress

_NO_DATES = np.empty(0, "datetime64[us]")


def build_panel(
    config: Config,
    bars: Bars | None,
    features: FeatureTable | None,
    *,
    run: Run = map,
    processors: FittedProcessors | None = None,
    second_processors: FittedProcessors | None = None,
    segments: Sequence[str] = ("train", "valid", "test"),
    progress: Progress = SILENT,
) -> Panel:
    """The segments of a configuration; processors are fitted unless given."""
    ranges = {name: (day(a), day(b)) for name, (a, b) in config.data.segments.items() if name in segments}
    start, end = day(config.data.first_date), max(last for _, last in ranges.values())
    chain = chain_of(config, features, processors)
    loaded = _load(config, bars, features, chain, start, end, need_label=True, run=run, progress=progress)
    train = config.data.segments.train
    in_train = (day(train[0]), day(train[1]))
    own = config.data.feature_set.type == "table"
    odd = [*table_findings(config, features), *feature_findings(loaded.frame, loaded.table, in_train, own=own)]
    rows = loaded.frame.rows(in_train)
    learn = any(name in LEARN_SEGMENTS for name in ranges)
    progress.note("fitting processors" if processors is None else "applying processors")
    done = process(chain, loaded.table, loaded.frame.label_R, rows, fitted=processors, learn=learn)
    made = segments_of(config, loaded.frame, done, ranges, flat=loaded.flat)
    if done.learn is not None and "train" in made:
        odd += label_findings(chain, loaded.frame, done.learn, made["train"].samples, in_train)
    for name, segment in made.items():
        check_samples(name, ranges[name], loaded.frame, segment.samples)
    second = _second_rows(config, start, end, second_processors, run, progress)
    panel = _panel(config, loaded.frame, made, done.fitted, bars, features, second, progress)
    return replace(panel, warnings=tuple(odd))


def scoring_panel(
    config: Config,
    bars: Bars | None,
    features: FeatureTable | None,
    processors: FittedProcessors,
    start: Day,
    end: Day,
    *,
    second_processors: FittedProcessors | None = None,
    run: Run = map,
    progress: Progress = SILENT,
) -> Panel:
    """One segment "score": every row of the universe from ``start`` to ``end``, with its window (or two).

    Dates before ``start`` are read until there are as many as a window has, so a window does not
    depend on which other dates are scored with it. For a network that remembers its losses there are a window's
    dates more, and a segment "memory": every row with a label from then on.
    """
    first, last = day(start), day(end)
    chain = chain_of(config, features, processors)
    calendar_T = calendar_of(bars, features)
    before_T = np.unique(calendar_T[calendar_T < first].astype("datetime64[D]"))
    remembers = config.model.remembers
    lead = (config.data.feature_set.type != "alpha360") + remembers
    lead *= config.data.step_len - 1
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
    label_R = loaded.frame.label_R
    if remembers and not knows_label(config, features):
        label_R = np.full_like(label_R, np.nan)
    done = process(chain, loaded.table, label_R, rows, fitted=processors, learn=remembers)
    scored = replace(done, learn=None)
    made = segments_of(config, loaded.frame, scored, {"score": (first, last)}, flat=loaded.flat)
    check_samples("score", (first, last), loaded.frame, made["score"].samples)
    if remembers:
        made["memory"] = labelled_segment(loaded.frame, done, made["score"], (day(loaded.frame.dates[0]), last))
    second = _second_rows(config, first, last, second_processors, run, progress)
    return _panel(config, loaded.frame, made, processors, bars, features, second, progress)


def _second_rows(
    config: Config, first: Day, last: Day, fitted: FittedProcessors | None, run: Run, progress: Progress
) -> SecondRows | None:
    """Read the second bars up to ``last``, from as far before ``first`` as the oldest window that counts reaches."""
    second, data = config.data.second, config.data.second_data
    if second is None or data is None:
        return None
    progress.note("reading the second window")
    bars, own = open_bars(second.bars), config.model_copy(update={"data": data})
    chain, clock = chain_of(own, None, fitted), Clock(daily=whole_days(bars.calendar), lag_minutes=second.lag_minutes)
    before_T = bars.calendar[clock.known(bars.calendar) < first]
    lead = 2 * second.step_len - 1  # the oldest row that counts, and the window that ends with it
    filters = any(isinstance(step, RowFilter) for step in chain.infer)
    reach = len(before_T) if filters else min(lead, len(before_T))
    while True:
        begin = day(before_T[-reach]) if reach else first
        loaded = _load(own, bars, None, chain, begin, last, need_label=False, run=run, progress=progress)
        if int((clock.known(loaded.frame.dates) < first).sum()) >= lead or reach == len(before_T):
            break
        reach = min(2 * reach, len(before_T))
    train = config.data.segments.train
    rows = loaded.frame.rows((day(train[0]), day(train[1])))
    done = process(chain, loaded.table, loaded.frame.label_R, rows, fitted=fitted, learn=False)
    every = segments_of(own, loaded.frame, done, {"every": (begin, last)}, flat=loaded.flat)["every"]
    return SecondRows.of(every, loaded.frame, bars=bars, clock=clock, fitted=done.fitted)


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
        used_columns(config, features),
        recipe=config.recipe,
    )


def ranks_features(chain: Chain) -> bool:
    """Whether a processor needs whole columns of features: Alpha360's lags are then made into a table."""
    return any(isinstance(p, Ranking) and "feature" in p.groups for p in (*chain.infer, *chain.learn))


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
    flat = config.data.feature_set.type == "alpha360"
    return load(reader, chain.columns, flat=flat, rank_features=ranks_features(chain), run=run, progress=progress)


def _panel(
    config: Config,
    frame: Frame,
    segments: Mapping[str, Segment],
    fitted: FittedProcessors,
    bars: Bars | None,
    features: FeatureTable | None,
    second: SecondRows | None,
    progress: Progress,
) -> Panel:
    concepts = None if config.data.concepts is None else open_concepts(config.data.concepts)
    if concepts is not None:
        memberships = concepts.memberships(frame.instruments, frame.dates)
        segments = {name: replace(segment, memberships=memberships) for name, segment in segments.items()}
    panel = Panel(
        instruments=frame.instruments,
        dates=frame.dates,
        segments=segments,
        columns=fitted.columns,
        processors=fitted,
        fingerprint=fingerprint(config, bars, features, concepts, None if second is None else second.bars),
    )
    if second is None:
        return panel
    return with_second(panel, second, calendar_of(bars, features), progress=progress)


def calendar_of(bars: Bars | None, features: FeatureTable | None) -> Moments:
    """Every datetime there is; none without a source."""
    return bars.calendar if bars is not None else features.dates() if features is not None else _NO_DATES


def fingerprint(
    config: Config,
    bars: Bars | None,
    features: FeatureTable | None,
    concepts: Concepts | None = None,
    second: Bars | None = None,
) -> str:
    """A hash of what the data are and of every setting that shapes them, not of where they lie."""
    places = {"bars", "features", "concepts", "residency", "second", "horizon_given"}  # what shapes nothing
    data = config.data.model_dump(mode="json", by_alias=True, exclude=places)
    weight = config.train.sample_weight
    facts = {
        "bars": None if bars is None else bars.fingerprint,
        "features": None if features is None else features.fingerprint,
        "concepts": None if concepts is None else concepts.fingerprint,
        "data": data,
        "sample_weight": None if weight is None else weight.model_dump(mode="json"),
        "recipe": config.recipe,
    }
    if second is not None and config.data.second is not None:
        settings = config.data.second.model_dump(mode="json", by_alias=True, exclude={"bars"})
        facts["second"] = {"bars": second.fingerprint, **settings}
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
