"""A shipped configuration made to fit the bars at hand: which universe, which dates, and comments on what they are.

What is shipped stays as it is written, but for these keys: data.bars, universe, concepts, segments, embargo.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from raybench.config import NETWORKS, Config, parse_config
from raybench.config.common.strict import nearest
from raybench.config.data.alpha_reach import rows_of_window
from raybench.config.json_schema import FILE
from raybench.config.shipped import FEATURE_SETS, shipped_text
from raybench.config.yaml_lines import Change, KeyPath, with_changes
from raybench.drafting.segments import Days, split
from raybench.errors import ConfigError, DataError
from raybench.market.bars import Bars, open_bars
from raybench.market.universe import ALL
from raybench.panel.presence import count_spans, days_of, present
from raybench.reports.text import numbered

USUAL = 0.1  # of the median of members: a date with fewer is none to begin or to end with
WARM_UP = 0.2  # of the dates, at most, that are left to the first windows
MOST_DAYS = 366  # that bars may go on after Qlib's own dates, so that these are taken
NAMED = 6  # universes

Counts = NDArray[np.int64]
Segments = Mapping[str, tuple[Any, Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """A configuration as ``text``, what it says as ``config``, and which universes the bars have."""

    text: str
    config: Config
    universes: tuple[str, ...]
    warnings: tuple[str, ...] = ()


def draft(
    bars: str,
    *,
    network: str = "gru",
    feature_set: str = "alpha158",
    universe: str | None = None,
    concepts: str | None = None,
    file: str,
) -> Draft:
    """Draft a configuration that trains ``network`` on ``bars``, to be written to ``file``.

    ``universe``: by default that of the shipped configuration, if the bars have it, else their first beside ``all``
    that has members with bars.
    ``concepts``: a table, which hist needs. DataError, ConfigError where the bars or the arguments do not do.
    """
    for given, known, option in ((network, NETWORKS, "--model"), (feature_set, FEATURE_SETS, "--set")):
        if given not in known:
            raise ConfigError(f"{option} {given!r}: is not known; {nearest(given, known)}")
    opened = open_bars(bars)
    shipped = shipped_text(network, feature_set)
    model = parse_config(shipped, name=f"{network}_{feature_set}.yaml")
    if model.data.concepts is not None and concepts is None:
        raise ConfigError(
            f"--model {network} looks at concepts; add --concepts FILE, a table of instrument, concept, start, end "
            "(Parquet or CSV)"
        )
    chosen = _universe(opened, universe, model.data.universe)
    days, count_D = _days(opened, chosen)
    segments, why = _segments(opened, model, chosen, days, count_D)
    changes: dict[KeyPath, Change] = {
        ("data", "bars"): Change(value=bars, comment=list(_about(opened))),
        ("data", "universe"): Change(value=chosen, comment=list(_universes(opened, days[-1]))),
        ("data", "segments"): Change(below=True, comment=why),
        ("data", "embargo"): Change(
            value=model.data.horizon or 0,
            comment=[
                "Dates dropped at the end of a segment: as many as the label looks ahead, so that none of train looks",
                "into valid. Qlib drops none.",
            ],
        ),
    }
    changes |= {("data", "segments", name): Change(value=list(span)) for name, span in segments.items()}
    if concepts is not None:
        changes["data", "concepts"] = Change(value=concepts)
    text = _headed(with_changes(shipped, changes, file), file)
    config = parse_config(text, name=file)
    return Draft(text=text, config=config, universes=opened.universes, warnings=tuple(_warnings(chosen, count_D)))


def _universe(bars: Bars, asked: str | None, shipped: str) -> str:
    """The one that is asked for; else the shipped one or the first that has members with bars, ``all`` last."""
    if asked is not None:
        if asked not in bars.universes:
            raise DataError(f"--universe {asked}: {bars.uri} has {', '.join(bars.universes)}; want one of them")
        return asked
    own = [name for name in bars.universes if name != ALL]
    first = [shipped] if shipped in own else []
    ordered = dict.fromkeys([*first, *own, ALL])
    return next((name for name in ordered if _counts(bars, name).any()), ALL)


def _counts(bars: Bars, universe: str) -> Counts:
    """How many members have bars on each day of the calendar."""
    days = days_of(bars.calendar)
    if set(bars.listed(universe).instruments).isdisjoint(bars.instruments):
        return np.zeros(len(days), np.int64)
    return count_spans(present(bars, universe), days)


def _days(bars: Bars, universe: str) -> tuple[Days, Counts]:
    """The days from the first to the last on which the universe has as many members with bars as is usual."""
    days, count_D = days_of(bars.calendar), _counts(bars, universe)
    if not count_D.any():
        raise DataError(
            f"--universe {universe}: no member has bars on a date of its spans; {bars.uri} has "
            f"{', '.join(bars.universes)}, and bars from {days[0]} to {days[-1]}; want another --universe"
        )
    enough = np.flatnonzero(count_D >= max(1.0, USUAL * float(np.median(count_D[count_D > 0]))))
    kept = slice(int(enough[0]), int(enough[-1]) + 1)
    return days[kept], count_D[kept]


def _segments(bars: Bars, model: Config, universe: str, days: Days, count_D: Counts) -> tuple[Segments, list[str]]:
    """The segments, and lines that say why these."""
    data = model.data
    there = f"{universe} has members with bars from {days[0]} to {days[-1]}, {numbered(len(days), 'date|dates')}."
    qlib = {name: np.array(span, "datetime64[D]") for name, span in data.segments.items()}
    first, last = qlib["train"][0], qlib["test"][1]
    close = (days[-1] - last).astype(int) <= MOST_DAYS
    if universe == data.universe and days[0] <= first and last <= days[-1] and close:
        kept = {name: tuple(day.item() for day in span) for name, span in qlib.items()}
        return kept, [there, "Those of Qlib's benchmark, so that figures can be compared."]
    names = data.feature_set.names or ()
    rows = rows_of_window(data.feature_set, names, data.step_len) - 1
    warm_up = min(-(-rows * len(days_of(bars.calendar)) // len(bars.calendar)), int(WARM_UP * len(days)))
    why = [there]
    if warm_up:
        why.append(f"The first {numbered(warm_up, 'is|are')} left to the first windows.")
    why.append("Three fifths to learn from, a fifth to stop by, the newest unseen; whole years where these are near.")
    return split(days[warm_up:], where=bars.uri), why


def _about(bars: Bars) -> Iterator[str]:
    """What the bars are, in comments."""
    metadata = bars.metadata
    yield "Written by `raybench import`; relative to the working directory, or s3://bucket/path."
    yield (
        f"{numbered(len(bars.instruments), 'instrument|instruments')}, {numbered(metadata.dates, 'date|dates')} "
        f"({bars.frequency}), {metadata.first[:10]} to {metadata.last[:10]}."
    )
    yield f"Fields {_clean(', '.join(bars.fields))}; fingerprint {bars.fingerprint[:12]}."


def _universes(bars: Bars, day: np.datetime64) -> Iterator[str]:
    """Which universes the bars have, and how many members each has on a day."""
    yield f"A universe of the bars, point in time; members on {day}:"
    for name in bars.universes[:NAMED]:
        yield f"  {name}: {int(count_spans(bars.listed(name), np.array([day]))[0]):,}"
    if len(bars.universes) > NAMED:
        yield f"  and {len(bars.universes) - NAMED} more (raybench info tells all)"


def _headed(text: str, file: str) -> str:
    """Let the comment at the top speak of this file, and of the schema beside it."""
    name = re.sub(r"\.ya?ml$", "", file.rstrip("/").rpartition("/")[2]) or "run"
    text = re.sub(r"^# yaml-language-server: .*\n", "", text)
    text = text.replace(", CSI 300", "", 1)
    text = re.sub(r"^#   raybench check .*$", _literal(f"#   raybench check {_word(file)}"), text, flags=re.M)
    trains = f"#   raybench train {_word(file)} --out {_word(f'runs/{name}')}"
    text = re.sub(r"^#   raybench train .*$", _literal(trains), text, flags=re.M)
    return f"# yaml-language-server: $schema={FILE}\n{text}"


def _literal(text: str) -> Any:
    return lambda _: text


def _word(path: str) -> str:
    return shlex.quote(_clean(path))


def _clean(text: str) -> str:
    """On one line, whatever a path or a field is called."""
    return "".join(char if char.isprintable() else "?" for char in text)


def _warnings(universe: str, count_D: Counts) -> Iterator[str]:
    if np.median(count_D) < 2:
        yield (
            f"universe {universe} has one member on most dates, and labels are ranked among the members of a date: "
            "nothing can be learned from ranks of one; take CSRankNorm out of data.processors.learn"
        )
