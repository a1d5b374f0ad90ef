"""Qlib's processors by name, with the arguments each takes: the one place that says it, in configurations and in runs.

``raybench.processors`` computes them: to each class here belongs one of that name there, with fields named as the
arguments.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, SerializeAsAny, field_validator, model_validator

from raybench.config.common.strict import ConfigPart, Date, Name, Number, nearest, problem, problem_at, show

Group = Literal["feature", "label"] | None
"""Columns a processor works on: the features, the label, or (None) all of them."""


class Arguments(ConfigPart):
    """Arguments of one processor."""

    infer: ClassVar[bool] = True  # may stand in data.processors.infer


class FitArguments(Arguments):
    """Arguments of a processor that is fitted; the range is the train segment unless given."""

    fit_start_time: Date | None = None
    fit_end_time: Date | None = None
    fields_group: Group = None

    @model_validator(mode="after")
    def _forward(self) -> FitArguments:
        if self.fit_start_time and self.fit_end_time and self.fit_start_time > self.fit_end_time:
            raise problem(f"fit_start_time {self.fit_start_time} is after fit_end_time {self.fit_end_time}")
        return self


class RobustZScoreNorm(FitArguments):
    """Median and median absolute deviation, clipped at 3."""

    clip_outlier: bool = True


class ZScoreNorm(FitArguments):
    """Mean and standard deviation."""


class MinMaxNorm(FitArguments):
    """Smallest value to 0, largest to 1."""


class CSRankNorm(Arguments):
    """Rank on each date."""

    fields_group: Group = None


class CSZScoreNorm(Arguments):
    """Z-score on each date."""

    fields_group: Group = None
    method: Literal["zscore", "robust"] = "zscore"


class CSZFillna(Arguments):
    """Fill with the mean of the date."""

    fields_group: Group = None


class Fillna(Arguments):
    """Fill with a constant."""

    fields_group: Group = None
    fill_value: Number = 0.0


class ProcessInf(Arguments):
    """Infinities to the mean of the date."""


class TanhProcess(Arguments):
    """tanh(x - 1) of the features."""


class DropnaProcessor(Arguments):
    """Drop rows with NaN in the group."""

    fields_group: Group = None


class DropnaLabel(Arguments):
    """Drop rows whose label is NaN."""

    infer: ClassVar[bool] = False

    fields_group: Literal["label"] = "label"


class FilterCol(Arguments):
    """Keep only these columns, in table order."""

    fields_group: Group = "feature"
    col_list: tuple[Name, ...] = Field(default=(), strict=False)


class DropCol(Arguments):
    """Drop these columns."""

    col_list: tuple[Name, ...] = Field(default=(), strict=False)


PROCESSORS: Mapping[str, type[Arguments]] = {
    cls.__name__: cls
    for cls in (
        RobustZScoreNorm, ZScoreNorm, MinMaxNorm, CSRankNorm, CSZScoreNorm, CSZFillna, Fillna,
        ProcessInf, TanhProcess, DropnaLabel, DropnaProcessor, FilterCol, DropCol,
    )
}  # fmt: skip
"""Arguments by processor name."""


class ProcessorSpec(ConfigPart):
    """One processor: ``class`` is its name, ``kwargs`` its arguments (complete once validated)."""

    name: Annotated[str, Field(alias="class")]
    arguments: Annotated[SerializeAsAny[Arguments], Field(alias="kwargs")]

    @model_validator(mode="before")
    @classmethod
    def _arguments_of_class(cls, data: Any) -> Any:
        """Validate ``kwargs`` by the arguments of the class that is named; a bare name means no arguments."""
        if isinstance(data, str):
            data = {"class": data}
        if not isinstance(data, Mapping):
            raise problem(f"want a mapping such as {{class: Fillna, kwargs: {{}}}}, got {show(data)}")
        name = data.get("class", data.get("name"))
        if name is None:
            raise problem_at("class", text=f"is required (one of {', '.join(PROCESSORS)})")
        if not isinstance(name, str) or name not in PROCESSORS:
            raise problem_at("class", text=f"unknown processor {name!r}; {nearest(name, PROCESSORS)}", given=name)
        if "arguments" in data:
            return data
        given = data.get("kwargs")
        return {**data, "kwargs": {} if given is None else given}

    @field_validator("arguments", mode="before")
    @classmethod
    def _parse_arguments(cls, value: Any, info: Any) -> Any:
        kind = PROCESSORS.get(info.data.get("name", ""))
        return value if kind is None or isinstance(value, Arguments) else kind.model_validate(value)

    @property
    def kwargs(self) -> dict[str, Any]:
        """The arguments as a mapping, defaults filled in."""
        return self.arguments.model_dump()


class ProcessorsConfig(ConfigPart):
    """``infer`` runs on every frame; ``learn`` runs after it on what is trained on."""

    infer: tuple[ProcessorSpec, ...] = Field(
        default=(
            ProcessorSpec(name="RobustZScoreNorm", arguments=RobustZScoreNorm(fields_group="feature")),
            ProcessorSpec(name="Fillna", arguments=Fillna(fields_group="feature")),
        ),
        strict=False,
    )
    learn: tuple[ProcessorSpec, ...] = Field(
        default=(
            ProcessorSpec(name="DropnaLabel", arguments=DropnaLabel()),
            ProcessorSpec(name="CSRankNorm", arguments=CSRankNorm(fields_group="label")),
        ),
        strict=False,
    )

    @field_validator("infer", mode="after")
    @classmethod
    def _infer_only(cls, specs: tuple[ProcessorSpec, ...]) -> tuple[ProcessorSpec, ...]:
        for spec in specs:
            if not spec.arguments.infer:
                raise problem(f"{spec.name} drops what has no label, so it belongs in data.processors.learn")
        return specs
