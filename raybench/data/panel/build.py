"""Building a panel: read, process, assemble."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from raybench.config import Config
from raybench.data.bars import Bars
from raybench.data.concepts import Concepts, open_concepts
from raybench.data.feature_table import FeatureTable
from raybench.data.frame import Frame, Run
from raybench.data.frame_parts import Day
from raybench.data.panel.assemble import LEARN_SEGMENTS, segments_of
from raybench.data.panel.segments import check_samples
from raybench.data.panel.types import Panel, Segment
from raybench.data.processors import FittedProcessors
from raybench.data.processors.base import Ranking, RowFilter
from raybench.data.processors.chain import Chain, make_chain, process
from raybench.data.reading import Loaded, day, load, make_reader, table_columns
from raybench.progress import SILENT, Progress

_NO_DATES = np.empty(0, "datetime64[us]")


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
    made = segments_of(config, loaded.frame, done, ranges, flat=loaded.flat)
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
    made = segments_of(config, loaded.frame, done, {"score": (first, last)}, flat=loaded.flat)
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


def _panel(
    config: Config,
    frame: Frame,
    segments: Mapping[str, Segment],
    fitted: FittedProcessors,
    bars: Bars | None,
    features: FeatureTable | None,
) -> Panel:
    concepts = None if config.data.concepts is None else open_concepts(config.data.concepts)
    if concepts is not None:
        memberships = concepts.memberships(frame.instruments, frame.dates)
        segments = {name: replace(segment, memberships=memberships) for name, segment in segments.items()}
    return Panel(
        instruments=frame.instruments,
        dates=frame.dates,
        segments=segments,
        columns=fitted.columns,
        processors=fitted,
        fingerprint=fingerprint(config, bars, features, concepts),
    )


def fingerprint(
    config: Config, bars: Bars | None, features: FeatureTable | None, concepts: Concepts | None = None
) -> str:
    """A hash of what the data are and of every setting that shapes them, not of where they lie."""
    data = config.data.model_dump(mode="json", by_alias=True, exclude={"bars", "features", "concepts", "residency"})
    weight = config.train.sample_weight
    facts = {
        "bars": None if bars is None else bars.fingerprint,
        "features": None if features is None else features.fingerprint,
        "concepts": None if concepts is None else concepts.fingerprint,
        "data": data,
        "sample_weight": None if weight is None else weight.model_dump(mode="json"),
        "recipe": config.recipe,
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
