"""What fitting leaves: the processors in order with their parameters, which JSON keeps to the last
bit.

Parameters are float32, so their shortest decimal form and back is exact. Per-date statistics are
not kept: they are computed again from whatever rows are scored.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import date
from typing import Any, cast

import numpy as np
from pydantic import ValidationError

from raybench.config.common.strict import first_problem
from raybench.config.data.processors import PROCESSORS, ProcessorSpec
from raybench.errors import ConfigError, RunError
from raybench.processors.base import ColumnFilter, Processor, RowFilter
from raybench.processors.by_date import Float32
from raybench.processors.column import Params
from raybench.processors.cross_section import CSRankNorm, CSZFillna, CSZScoreNorm, ProcessInf
from raybench.processors.elementwise import Fillna, MinMaxNorm, RobustZScoreNorm, TanhProcess, ZScoreNorm
from raybench.processors.filters import DropCol, DropnaLabel, DropnaProcessor, FilterCol

IMPLEMENTATIONS: Mapping[str, type[Processor]] = {
    cls.__name__: cls
    for cls in (
        RobustZScoreNorm, ZScoreNorm, MinMaxNorm, CSRankNorm, CSZScoreNorm, CSZFillna, Fillna,
        ProcessInf, TanhProcess, DropnaLabel, DropnaProcessor, FilterCol, DropCol,
    )
}  # fmt: skip
"""What computes each of ``config.data.processors.PROCESSORS``."""


def make_processor(spec: ProcessorSpec) -> Processor:
    """Make what computes a processor of a configuration."""
    arguments = {key: str(value) if isinstance(value, date) else value for key, value in spec.kwargs.items()}
    return IMPLEMENTATIONS[spec.name](**arguments)


@dataclass(frozen=True, slots=True, kw_only=True)
class FittedStep:
    """A processor with its parameters: ``feature_PF`` for the F columns it works on, ``label`` for the label."""

    processor: Processor
    feature_PF: Float32 | None = None
    label: Params | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FittedProcessors:
    """The chain of a run. ``table_columns`` go in; ``columns`` are left by its column filters."""

    table_columns: tuple[str, ...]
    infer: tuple[FittedStep, ...]
    learn: tuple[FittedStep, ...]

    @property
    def columns(self) -> tuple[str, ...]:
        return select_columns([step.processor for step in self.infer], self.table_columns)

    def to_json(self) -> str:
        """Write everything, NaN and infinities as text so that any JSON reader can read it."""
        return json.dumps(
            {
                "table_columns": self.table_columns,
                "infer": [_dump(step) for step in self.infer],
                "learn": [_dump(step) for step in self.learn],
            },
            indent=1,
            allow_nan=False,
        )

    @classmethod
    def from_json(cls, text: str) -> FittedProcessors:
        """Read what `to_json` wrote."""
        try:
            data = json.loads(text)
            return cls(
                table_columns=tuple(data["table_columns"]),
                infer=tuple(_load(step) for step in data["infer"]),
                learn=tuple(_load(step) for step in data["learn"]),
            )
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise RunError(f"these are no fitted processors ({type(error).__name__}: {error})") from error


def select_columns(processors: Sequence[Processor], columns: tuple[str, ...]) -> tuple[str, ...]:
    """The columns that column filters leave, in the order of the table."""
    for processor in processors:
        if isinstance(processor, ColumnFilter):
            columns = processor.select(columns)
    if not columns:
        raise ConfigError("data.processors: FilterCol and DropCol leave no feature; keep at least one")
    return columns


def changes_features(processor: Processor) -> bool:
    """Whether a processor gives other feature values or columns."""
    return "feature" in processor.groups and not isinstance(processor, RowFilter)


def processor_to_dict(processor: Processor) -> dict[str, Any]:
    """Name and arguments, as in a configuration."""
    kwargs = {f.name: getattr(processor, f.name) for f in fields(processor)}
    return {"class": type(processor).__name__, "kwargs": kwargs}


def processor_from_dict(data: Mapping[str, Any]) -> Processor:
    """The inverse of `processor_to_dict`; ValueError for what no configuration could say."""
    name, kwargs = data["class"], data["kwargs"]
    if name in PROCESSORS:  # older runs say fields_group: null of processors that have no groups
        known = PROCESSORS[name].model_fields
        kwargs = {key: value for key, value in kwargs.items() if key in known or value is not None}
    try:
        return make_processor(ProcessorSpec.model_validate({"class": name, "kwargs": kwargs}))
    except ValidationError as error:
        raise ValueError(first_problem(error)) from None


def _dump(step: FittedStep) -> dict[str, Any]:
    feature = None if step.feature_PF is None else [_numbers(row) for row in step.feature_PF]
    label = None if step.label is None else _numbers(step.label)
    return {**processor_to_dict(step.processor), "feature": feature, "label": label}


def _numbers(values: Sequence[float] | Float32) -> list[float | str]:
    return [float(v) if np.isfinite(v) else str(float(v)) for v in values]


def _load(data: Mapping[str, Any]) -> FittedStep:
    feature, label = data["feature"], data["label"]
    rows = None if feature is None else [[float(v) for v in row] for row in feature]
    return FittedStep(
        processor=processor_from_dict(data),
        feature_PF=None if rows is None else cast(Float32, np.array(rows, np.float32)),
        label=None if label is None else tuple(float(v) for v in label),
    )
