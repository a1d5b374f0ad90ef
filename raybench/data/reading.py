"""From a configuration to the frame and the feature columns, before any processor has run.

One group of whole instruments is read at a time; ``run`` may spread the groups. Three ways lead here:
Alpha158 or a table become an array of rows, Alpha360 from bars stays six raw fields (`LagColumns`)
unless a processor ranks features, which needs the wide table in a mapped file.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch

from raybench.config import Config
from raybench.config.label import DEFAULT_LABEL, parse_label
from raybench.data.bars import Bars
from raybench.data.feature_table import FeatureTable
from raybench.data.frame import Frame, Run, join_parts
from raybench.data.frame_parts import BarRows, Day, TableRows
from raybench.data.processors.by_date import Float32
from raybench.data.processors.lags import LagColumns
from raybench.data.processors.table import ArrayColumns, mapped_array
from raybench.data.table_columns import weight_column
from raybench.data.universe import ALL, Universe
from raybench.data.windows import LagWindows
from raybench.data.windows.source import as_tensor
from raybench.errors import ConfigError, DataError
from raybench.progress import Progress

Reader = BarRows | TableRows


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """A frame and its features. ``flat``: rows are whole windows of Alpha360, not single steps."""

    frame: Frame
    table: ArrayColumns | LagColumns
    flat: bool


def make_reader(
    config: Config,
    bars: Bars | None,
    features: FeatureTable | None,
    columns: tuple[str, ...],
    start: Day,
    end: Day,
    *,
    need_label: bool,
) -> Reader:
    """What reads ``columns`` and the label, from the table where there is one, else from bars."""
    weight = weight_column(config) if need_label else None
    universe = _universe(config, bars)
    if features is not None:
        known = features.readable
        named = (("data.label", config.data.label_column), ("train.sample_weight.column", weight))
        for key, name in named:
            if need_label and name is not None and name not in known:
                raise DataError(f"{features.uri}: no column {name}, which {key} names")
        return TableRows(
            table=features,
            universe=universe,
            label=_label_column(config, features),
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
    lags = config.data.feature_set.type == "alpha360"
    # A run that learned from a table may have the name of a column there, which scoring from bars does not need.
    label = config.data.label if "$" in config.data.label else DEFAULT_LABEL
    reader = BarRows(
        bars=bars,
        universe=universe,
        label=parse_label(label),
        start=start,
        end=end,
        columns=None if lags else columns,
        step_len=config.data.step_len,
        weight=weight,
    )
    calendar = bars.calendar
    first = max(int(np.searchsorted(calendar, start.astype(calendar.dtype))) - reader.reach, 0)
    return replace(reader, since=calendar[first]) if first < len(calendar) else reader


def knows_label(config: Config, features: FeatureTable | None) -> bool:
    """Say whether rows that are read to be scored have the label that the run was trained on, as far as it exists."""
    if features is None:
        return config.data.computable
    return _label_column(config, features) is not None


def _label_column(config: Config, features: FeatureTable) -> str | None:
    """Name the column of a table that has the label: as configured, or what we computed there as for bars."""
    if config.data.features is not None:
        return config.data.label_column if config.data.label_column in features.readable else None
    return features.label if features.parts and config.data.label == DEFAULT_LABEL else None


def load(
    reader: Reader,
    columns: tuple[str, ...],
    *,
    flat: bool,
    rank_features: bool,
    run: Run,
    progress: Progress,
) -> Loaded:
    """Read everything the reader names; ``flat``: the columns are Alpha360's."""
    groups = reader.groups()
    parts = []
    with progress.track("reading", len(groups)) as advance:
        for part in run(reader.part, groups):
            parts.append(part)
            advance(1)
    frame, values, place_R = join_parts(parts)
    del parts
    if not len(frame):
        raise DataError(_nothing(reader))
    if place_R is None:
        table = ArrayColumns(columns=columns, feature_MF=values)
        return Loaded(frame=frame, table=table, flat=flat)
    if rank_features:
        progress.note(
            "ranking Alpha360 features needs all of its columns at once: "
            f"writing a table of {len(frame) * len(columns) * 4 / 2**30:.1f} GiB to a temporary file"
        )
        table = ArrayColumns(columns=columns, feature_MF=_wide(values, place_R, len(columns)), mapped=True)
        return Loaded(frame=frame, table=table, flat=True)
    lags = LagColumns(columns=columns, raw_P6=values, row_M=place_R, date_M=frame.date_R, run=run)
    return Loaded(frame=frame, table=lags, flat=True)


def _wide(raw_P6: Float32, row_M: npt.NDArray[np.int64], width: int, at_once: int = 16_384) -> Float32:
    """Alpha360's flat table of the rows, in a mapped file that goes with the array."""
    step_len = width // raw_P6.shape[1]
    source = LagWindows(raw_P6=as_tensor(raw_P6), date_P=None, step_len=step_len)
    wide = mapped_array((len(row_M), width))
    for start in range(0, len(row_M), at_once):
        rows = torch.from_numpy(row_M[start : start + at_once])
        wide[start : start + len(rows)] = source.gather(rows).transpose(1, 2).reshape(len(rows), width).numpy()
    return wide


def _universe(config: Config, bars: Bars | None) -> Universe | None:
    name = config.data.universe
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
