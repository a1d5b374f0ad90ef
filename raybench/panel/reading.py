"""From a configuration to the frame and the feature columns, before any processor has run.

One group of whole instruments is read at a time; ``run`` may spread the groups. Three ways lead here:
Alpha158 or a table become an array of rows, Alpha360 from bars stays six raw fields (`LagColumns`)
unless a processor ranks features, which needs the wide table in a mapped file.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import torch

from raybench.config.data.alpha_reach import missed_of
from raybench.config.data.label import DEFAULT_LABEL, parse_label
from raybench.config.panel_spec import PanelSpec
from raybench.errors import ConfigError, DataError
from raybench.fanout import Fanout
from raybench.feature_sets.table import FeatureTable
from raybench.feature_sets.table_columns import check_named, weight_column
from raybench.market.bars import Bars
from raybench.market.universe import ALL, Universe
from raybench.panel.frame import Frame, FramePart, join_parts
from raybench.panel.frame_parts import BarRows, Day, TableRows
from raybench.panel.windows import LagWindows
from raybench.processors.by_date import Float32
from raybench.processors.lags import LagColumns
from raybench.processors.table import ArrayColumns, mapped_array
from raybench.progress import Advance, Progress
from raybench.storage.arrays import as_tensor

Reader = BarRows | TableRows


def make_reader(
    spec: PanelSpec,
    bars: Bars | None,
    features: FeatureTable | None,
    columns: tuple[str, ...],
    start: Day,
    end: Day,
    *,
    need_label: bool,
) -> Reader:
    """What reads ``columns`` and the label, from the table where there is one, else from bars."""
    weight = weight_column(spec) if need_label else None
    universe = _universe(spec, bars)
    if features is not None:
        if need_label:
            check_named(spec, features)
        return TableRows(
            table=features,
            universe=universe,
            label=_label_column(spec, features),
            start=start,
            end=end,
            columns=columns,
            weight=weight,
        )
    if bars is None or universe is None:
        raise ConfigError("data.bars: is required: a bars dataset (or data.features: a feature table)")
    if weight is not None and weight not in bars.fields:
        raise DataError(
            f"{bars.uri}: no field {weight}, which train.sample_weight.column names; it has {', '.join(bars.fields)}"
        )
    lags = spec.data.feature_set.type == "alpha360"
    # A run that learned from a table may have the name of a column there, which scoring from bars does not need.
    label = spec.data.label if "$" in spec.data.label else DEFAULT_LABEL
    reader = BarRows(
        bars=bars,
        universe=universe,
        label=parse_label(label),
        start=start,
        end=end,
        columns=None if lags else columns,
        step_len=spec.data.step_len,
        weight=weight,
        counted=tuple(name for name in missed_of(spec.data.feature_set, columns) if name in bars.fields),
    )
    calendar = bars.calendar
    first = max(int(np.searchsorted(calendar, start.astype(calendar.dtype))) - reader.reach, 0)
    stop = int(np.searchsorted(calendar, (end + 1).astype(calendar.dtype))) + reader.label.horizon
    until = calendar[stop - 1] if 0 < stop < len(calendar) else None
    return replace(reader, since=calendar[first] if first < len(calendar) else None, until=until)


def knows_label(spec: PanelSpec, features: FeatureTable | None) -> bool:
    """Say whether rows that are read to be scored have the label that the run was trained on, as far as it exists."""
    if features is None:
        return spec.data.computable
    return _label_column(spec, features) is not None


def label_column(reader: Reader) -> str | None:
    """Name the column that a reader of a table has the label from."""
    return reader.label if isinstance(reader, TableRows) else None


def _label_column(spec: PanelSpec, features: FeatureTable) -> str | None:
    """Name the column of a table that has the label: as configured, or what we computed there as for bars."""
    if spec.data.features is not None:
        return spec.data.label_column if spec.data.label_column in features.readable else None
    return features.label if features.parts and spec.data.label == DEFAULT_LABEL else None


def load(
    reader: Reader,
    columns: tuple[str, ...],
    *,
    rank_features: bool,
    run: Fanout,
    progress: Progress,
) -> tuple[Frame, ArrayColumns | LagColumns]:
    """Read everything the reader names: the frame, and its feature columns."""
    groups = sorted(reader.tasks(), key=lambda group: group[0])
    with progress.track("reading", len(groups)) as advance:
        frame, values, place_R = join_parts(as_they_come(run(reader.part, groups), advance))
    if not len(frame):
        raise DataError(_nothing(reader))
    if place_R is None:
        return frame, ArrayColumns(columns=columns, feature_MF=values, run=run)
    if rank_features:
        progress.note(
            "ranking Alpha360 features needs all of its columns at once: "
            f"writing a table of {len(frame) * len(columns) * 4 / 2**30:.1f} GiB to a temporary file"
        )
        return frame, ArrayColumns(columns=columns, feature_MF=_wide(values, place_R, len(columns)), mapped=True)
    return frame, LagColumns(columns=columns, raw_P6=values, row_M=place_R, date_M=frame.date_R, run=run)


def as_they_come(parts: Iterator[FramePart], advance: Advance) -> Iterator[FramePart]:
    """The parts, with progress for each of them."""
    for part in parts:
        yield part
        del part
        advance(1)


def _wide(raw_P6: Float32, row_M: npt.NDArray[np.int64], width: int, at_once: int = 16_384) -> Float32:
    """Alpha360's flat table of the rows, in a mapped file that goes with the array."""
    step_len = width // raw_P6.shape[1]
    source = LagWindows(raw_P6=as_tensor(raw_P6), date_P=None, step_len=step_len)
    wide = mapped_array((len(row_M), width))
    for start in range(0, len(row_M), at_once):
        rows = torch.from_numpy(row_M[start : start + at_once])
        wide[start : start + len(rows)] = source.gather(rows).transpose(1, 2).reshape(len(rows), width).numpy()
    return wide


def _universe(spec: PanelSpec, bars: Bars | None) -> Universe | None:
    name = spec.data.universe
    if bars is not None:
        return bars.universe(name)
    if name != ALL:
        raise ConfigError(f"data.universe: {name} is defined by a bars dataset; give data.bars beside data.features")
    return None


def _nothing(reader: Reader) -> str:
    where = reader.bars.uri if isinstance(reader, BarRows) else reader.table.uri
    name = "all" if reader.universe is None else reader.universe.name
    dates = f"from {reader.start} to {reader.end}"
    return f"{where}: universe {name} has no rows {dates}; change data.segments (to score: --start and --end)"


def day(value: object) -> Day:
    """A date as datetime64[D]."""
    return np.datetime64(str(value)[:10], "D")
