"""What is odd about the data of a training, a line each: told before it starts, and kept with its result.

Shapes: M table rows, F columns, S samples of the train segment, T dates. NaN rule: NaN and infinities are no numbers.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from raybench.columns.date_numbers import disguise
from raybench.errors import DataError
from raybench.panel.filled import Filled
from raybench.panel.frame import Frame
from raybench.panel.types import Samples
from raybench.processors.base import PerDate, Processor, Ranking
from raybench.processors.by_date import Float32
from raybench.processors.chain import Chain, Stage
from raybench.processors.column import DateRange, in_range
from raybench.processors.lags import LagColumns
from raybench.processors.table import ArrayColumns
from raybench.reports.text import numbered

Mask = npt.NDArray[np.bool_]

NAMED = 8  # columns in one line
ROWS_AT_ONCE = 65_536
ROWS_COMPARED = 50_000
TOO_GOOD = 0.3  # correlation with the label within a date: of features known at the time some hundredths are usual
TELLING = 2_000  # rows that tell whether a column is dates
ENOUGH = 200  # rows, for chance to reach that correlation hardly ever
FEW = 3  # instruments on a date that a cross-sectional processor needs, to say more than who is the better of two


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnLook:
    """What columns hold in the train segment: lowest and highest number [F], NaN where there is none.

    with_label_F: correlation with the label within dates, NaN where nobody asked or too few rows tell. disguised: of
    the columns that are dates what they are, of a table of one's own.
    """

    names: tuple[str, ...]
    low_F: Float32
    high_F: Float32
    with_label_F: Float32
    disguised: Mapping[str, str] = field(default_factory=dict)


def feature_findings(frame: Frame, table: ArrayColumns | LagColumns, train: DateRange, *, own: bool) -> Iterator[str]:
    """Columns that say nothing in the train segment and, of a table of one's ``own``, those that know too much."""
    if isinstance(table, LagColumns):
        return lines_of([look_at_raw(table.columns, table.raw_P6)])
    return lines_of([look_at(table.columns, table.feature_MF, frame=frame, train=train, own=own)])


def look_at(columns: tuple[str, ...], feature_MF: Float32, *, frame: Frame, train: DateRange, own: bool) -> ColumnLook:
    """Look at some columns of all rows of a frame."""
    mask_M = in_range(frame.dates, train)[frame.date_R]
    low_F, high_F = _ranges(feature_MF, mask_M)
    with_label_F = np.full(len(columns), np.nan, np.float32)
    disguised: dict[str, str] = {}
    if own:
        disguised = _disguised(frame, columns, feature_MF, np.flatnonzero(mask_M))
        with_label_F = _with_label(frame, feature_MF, np.flatnonzero(mask_M & np.isfinite(frame.label_R)))
    return ColumnLook(names=columns, low_F=low_F, high_F=high_F, with_label_F=with_label_F, disguised=disguised)


def look_at_raw(columns: Sequence[str], raw_P6: Float32) -> ColumnLook:
    """Look at raw fields that Alpha360's flat ``columns`` are made from, all of their rows or some."""
    step_len = len(columns) // raw_P6.shape[1]
    names = tuple(f"{columns[i]} to {columns[i + step_len - 1]}" for i in range(0, len(columns), step_len))
    low_F, high_F = _ranges(raw_P6, None)
    return ColumnLook(names=names, low_F=low_F, high_F=high_F, with_label_F=np.full(len(names), np.nan, np.float32))


def joined(parts: Sequence[ColumnLook]) -> ColumnLook:
    """Put together what was seen of the same columns in several parts of the rows; correlations are none."""
    low_F, high_F = np.fmin.reduce([p.low_F for p in parts]), np.fmax.reduce([p.high_F for p in parts])
    return replace(parts[0], low_F=low_F, high_F=high_F)


def lines_of(groups: Sequence[ColumnLook]) -> Iterator[str]:
    """Name the columns, looked at in groups, that say nothing or know too much."""
    names = [name for group in groups for name in group.names]
    low_F, high_F = (np.concatenate(parts) for parts in zip(*((g.low_F, g.high_F) for g in groups), strict=True))
    with_label_F = np.concatenate([group.with_label_F for group in groups])
    never = [name for name, low in zip(names, low_F, strict=True) if np.isnan(low)]
    same = [f"{n} ({low:.4g})" for n, low, high in zip(names, low_F, high_F, strict=True) if low == high]
    knowing = [f"{n} ({r:.2f})" for n, r in zip(names, with_label_F, strict=True) if abs(r) > TOO_GOOD]
    if never:
        yield f"features that have no number in the train segment: {_listed(never)}"
    if same:
        yield f"features that are constant in the train segment: {_listed(same)}"
    dated = [f"{name} ({what})" for group in groups for name, what in group.disguised.items()]
    if dated:
        yield f"features that look like dates: {_listed(dated)}; data.feature_set.columns leaves them out"
    if knowing:
        yield (
            f"features that correlate with the label within dates as few do that are known at the time: "
            f"{_listed(knowing)}; do they look ahead?"
        )


def training_findings(
    chain: Chain,
    frame: Frame,
    learn: Stage,
    samples: Mapping[str, Samples],
    ranges: Mapping[str, DateRange],
    *,
    step_len: int,
    before: int,
    filled: Filled | None,
) -> Iterator[str]:
    """What is odd about labels, windows, and numbers that are missing; ``samples`` and ``ranges`` have train at least.

    See the three that follow.
    """
    train = ranges["train"]
    yield from label_findings(chain, frame, learn, samples, train)
    yield from weight_findings(samples["train"])
    yield from window_findings(frame, samples["train"], step_len, before)
    yield from missing_findings(filled, train, ranges.get("valid", train))


def label_findings(
    chain: Chain, frame: Frame, learn: Stage, samples: Mapping[str, Samples], train: DateRange
) -> Iterator[str]:
    """Labels that leave nothing to learn (DataError) or to rank, as the learn processors make them.

    ``samples`` by segment, train among them.
    """
    made = [type(step).__name__ for step in (*chain.infer, *chain.learn) if "label" in step.groups and _computes(step)]
    after = f" after {', '.join(made)}" if made else ""
    in_train_K = in_range(frame.dates, train)[frame.date_R[learn.frame_K]]
    label_S = samples["train"].label_S[np.isfinite(samples["train"].label_S)]
    if not len(label_S):
        left = np.isfinite(learn.label_K[in_train_K]).any()  # and an embargo took them
        if np.isfinite(frame.label_R[learn.frame_K][in_train_K]).any() and not left:
            raise DataError(
                f"data.segments.train: there are labels, but none is left{after}: {_few(frame, chain)}change "
                "data.processors.learn"
            )
        return  # check_samples says what is missing
    if label_S.min() == label_S.max():
        raise DataError(
            f"data.segments.train: every label is the same{after} ({label_S[0]:.4g}), so there is nothing to learn: "
            f"{_few(frame, chain)}change data.processors.learn, data.label or the universe"
        )
    for name, of_segment in samples.items():
        if infinite := int(np.isinf(of_segment.raw_label_S).sum()):
            count = numbered(infinite, f"label|labels of {name} is|are infinite")
            yield f"{count}, as a division by 0 leaves them: they count as the best or the worst; mend the data"
    said = ""
    for name, of_segment in samples.items():
        if not said:
            said = _nothing_to_rank(name, of_segment, chain, after)
    if said:
        yield said


def _nothing_to_rank(name: str, samples: Samples, chain: Chain, after: str) -> str:
    """What of a segment cannot be ranked; empty if there is something, or no label at all."""
    if not len(samples):
        return ""
    share, members = _equal_dates(samples)
    there = f"on a date of {name} there {'is one instrument' if members == 1 else f'are {members} instruments'}: "
    if members < FEW and (names := _cross_sectional(chain)):
        return (
            f"{there}{', '.join(names)} {'compares' if len(names) == 1 else 'compare'} the instruments of a date, "
            "and need many"
        )
    if members == 1:
        return f"{there}IC and Rank IC compare those of a date, and need many"
    if share > 0.5:
        return (
            f"on {share:.0%} of the dates of {name} all labels are the same{after}: on these there is nothing to rank"
        )
    return ""


def weight_findings(samples: Samples) -> Iterator[str]:
    """How many samples of train count for nothing."""
    if samples.weight_S is None or not len(samples):
        return
    nothing = int((samples.weight_S == 0).sum())
    if nothing:
        yield (
            f"{nothing:,} of {numbered(len(samples), 'sample|samples')} of train weigh 0 (train.sample_weight; one "
            "that is missing counts as 0): nothing is learned from them"
        )


def window_findings(frame: Frame, samples: Samples, step_len: int, before: int) -> Iterator[str]:
    """Windows that are longer than what there is of history; ``before``: dates that are read before the frame's."""
    cut = float((samples.date_S + 1 + before < step_len).mean()) if len(samples) else 0.0
    if cut > 0.5:
        have = numbered(len(frame.dates) + before, "date|dates")
        yield (
            f"{cut:.0%} of the windows of train are cut: data.step_len is {step_len}, and there are {have} from "
            f"{frame.dates[0].astype('datetime64[D]')} to the end of valid; give a smaller data.step_len, or "
            "data that begin earlier (data.start, data.segments.train)"
        )


def missing_findings(filled: Filled | None, train: DateRange, valid: DateRange) -> Iterator[str]:
    """Fields or columns that have numbers in train and hardly any in valid: what is measured there is another thing."""
    if filled is None:
        return
    usual, has = filled.usual(train), in_range(filled.days, valid) & (filled.there_D > 0)
    if not has.any():
        return
    share = dict(zip(filled.names, filled.count_DK[has].sum(axis=0) / filled.there_D[has].sum(), strict=True))
    gone = [f"{name} ({share[name]:.0%} of the rows)" for name, often in usual.items() if share[name] < often / 2]
    if gone:
        yield f"have numbers in the train segment and hardly any in the validation segment: {_listed(gone)}"


def _ranges(values_MF: Float32, mask_M: Mask | None) -> tuple[Float32, Float32]:
    """Lowest and highest number of each column [F], NaN where there is none; exact only where these are equal.

    A column is left as soon as it is seen to vary, so that little of a table is read.
    """
    low_F = np.full(values_MF.shape[1], np.nan, np.float32)
    high_F = low_F.copy()
    open_ = np.arange(values_MF.shape[1])
    for start in range(0, len(values_MF), ROWS_AT_ONCE):
        rows = slice(start, start + ROWS_AT_ONCE)
        block = values_MF[rows] if mask_M is None else values_MF[rows][mask_M[rows]]
        if not len(block):
            continue
        block = np.where(np.isfinite(block[:, open_]), block[:, open_], np.nan)
        low_F[open_] = np.fmin(low_F[open_], np.fmin.reduce(block, axis=0))
        high_F[open_] = np.fmax(high_F[open_], np.fmax.reduce(block, axis=0))
        open_ = open_[~(low_F[open_] < high_F[open_])]
        if not len(open_):
            break
    return low_F, high_F


def _disguised(
    frame: Frame, columns: tuple[str, ...], feature_MF: Float32, rows: npt.NDArray[np.int64]
) -> dict[str, str]:
    """Which columns are dates, told by some of the ``rows``."""
    rows = rows[:: max(1, len(rows) // TELLING)]
    when_R = frame.dates[frame.date_R[rows]]
    found = {name: disguise(feature_MF[rows, c], when_R) for c, name in enumerate(columns)}
    return {name: what for name, what in found.items() if what}


def _with_label(frame: Frame, feature_MF: Float32, rows: npt.NDArray[np.int64]) -> Float32:
    """Correlation of each column with the label within dates [F]; of features known at the time some hundredths."""
    rows = rows[:: max(1, len(rows) // ROWS_COMPARED)]
    label_K, date_K = frame.label_R[rows].astype(np.float64), frame.date_R[rows]
    found_F = np.full(feature_MF.shape[1], np.nan, np.float32)
    for c in range(len(found_F)):
        x_K = feature_MF[rows, c].astype(np.float64)
        known = np.isfinite(x_K)
        x, y = (_within_dates(values[known], date_K[known], len(frame.dates)) for values in (x_K, label_K))
        scale = np.sqrt((x @ x) * (y @ y))
        if known.sum() >= ENOUGH and scale > 0:
            found_F[c] = x @ y / scale
    return found_F


def _within_dates(x_K: npt.NDArray[np.float64], date_K: npt.NDArray[np.int32], dates: int) -> npt.NDArray[np.float64]:
    count_T = np.maximum(np.bincount(date_K, minlength=dates), 1)
    centred: npt.NDArray[np.float64] = x_K - (np.bincount(date_K, x_K, minlength=dates) / count_T)[date_K]
    return centred


def _equal_dates(samples: Samples) -> tuple[float, int]:
    """The share of dates on which all labels are equal, and how many instruments a date has, the median."""
    order = np.argsort(samples.date_S, kind="stable")
    label_S, date_S = samples.label_S[order], samples.date_S[order]
    begins = np.flatnonzero(np.r_[True, date_S[1:] != date_S[:-1]])
    equal_T = np.fmin.reduceat(label_S, begins) == np.fmax.reduceat(label_S, begins)
    return float(equal_T.mean()), int(np.median(np.diff(np.r_[begins, len(date_S)])))


def _computes(step: Processor) -> bool:
    return not type(step).__name__.startswith("Drop")


def _cross_sectional(chain: Chain) -> list[str]:
    steps = [step for step in (*chain.infer, *chain.learn) if isinstance(step, PerDate | Ranking)]
    return list(dict.fromkeys(type(step).__name__ for step in steps))


def _few(frame: Frame, chain: Chain) -> str:
    """Say it if there is nobody to compare an instrument with."""
    if len(frame.instruments) > 1 or not _cross_sectional(chain):
        return ""
    return f"there is one instrument ({frame.instruments[0]}), and nothing to compare it with on a date; "


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more
