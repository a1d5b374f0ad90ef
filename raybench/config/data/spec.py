"""The ``data`` part of a configuration: where from, features, label, which dates, which processors."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from itertools import pairwise
from typing import Any, Literal

from pydantic import Field, ValidationError, field_validator, model_validator

from raybench.config.common.strict import (
    ConfigPart,
    Date,
    Name,
    Rows,
    describe,
    nearest,
    problem,
    problem_at,
    problems_at,
    show,
)
from raybench.config.data.alpha_names import ALPHA158_NAMES, ALPHA360_FIELDS, ALPHA360_NAMES, ALPHA360_STEPS
from raybench.config.data.label import DEFAULT_LABEL, parse_label
from raybench.config.data.processors import FitArguments, ProcessorsConfig, ProcessorSpec
from raybench.errors import ConfigError

LABEL_COLUMN = "LABEL0"
"""Name of the label in feature tables written by raybench (and by Qlib)."""

DateRange = tuple[dt.date, dt.date]
Problem = tuple[tuple[str | int, ...], str, object]  # key, what is wrong, what was given


class FeatureSet(ConfigPart):
    """Which features: Qlib's Alpha158 or Alpha360, or the columns of a table of one's own."""

    type: Literal["alpha158", "alpha360", "table"] = "alpha158"
    columns: tuple[Name, ...] | None = Field(default=None, strict=False)

    @model_validator(mode="after")
    def _columns_exist(self) -> FeatureSet:
        if self.columns is None:
            return self
        if self.type == "alpha360":
            raise problem_at("columns", text="alpha360 is taken whole; leave it out, or use alpha158 or table")
        if not self.columns:
            raise problem_at("columns", text="names no column; leave it out to take all")
        twice = sorted({name for name in self.columns if self.columns.count(name) > 1})
        if twice:
            raise problem_at("columns", text=f"names {', '.join(twice)} twice")
        if self.type == "alpha158":
            unknown = [(i, name) for i, name in enumerate(self.columns) if name not in ALPHA158_NAMES]
            if unknown:
                raise problems_at(
                    (("columns", i), f"alpha158 has no column {name!r}; {_near(name, ALPHA158_NAMES)}", name)
                    for i, name in unknown
                )
        return self

    @property
    def names(self) -> tuple[str, ...] | None:
        """Selected columns, in table order for Alpha158 and Alpha360; None where only the table knows."""
        if self.type == "alpha360":
            return ALPHA360_NAMES
        if self.type == "alpha158":
            return tuple(name for name in ALPHA158_NAMES if self.columns is None or name in self.columns)
        return self.columns


class Segments(ConfigPart):
    """Train, then valid, then test: inclusive date ranges that do not overlap."""

    train: tuple[Date, Date] = Field(strict=False)
    valid: tuple[Date, Date] = Field(strict=False)
    test: tuple[Date, Date] = Field(strict=False)

    @field_validator("train", "valid", "test", mode="before")
    @classmethod
    def _pair(cls, value: Any) -> Any:
        if not isinstance(value, (list, tuple)) or len(value) != 2:
            raise problem(f"want two dates [first, last], got {show(value)}")
        return value

    @field_validator("train", "valid", "test", mode="after")
    @classmethod
    def _forward(cls, value: DateRange) -> DateRange:
        if value[0] > value[1]:
            raise problem(f"starts on {value[0]}, after its end {value[1]}; want [first, last]")
        return value

    @model_validator(mode="after")
    def _in_order(self) -> Segments:
        wrong = [
            (
                (later,),
                f"starts on {start}, but {earlier} ends on {end}; want segments one after another",
                start,
            )
            for (earlier, (_, end)), (later, (start, _)) in self.borders()
            if start <= end
        ]
        if wrong:
            raise problems_at(wrong)
        return self

    def borders(self) -> Iterator[tuple[tuple[str, DateRange], tuple[str, DateRange]]]:
        """Give each pair of neighbours."""
        yield from pairwise(self.items())

    def items(self) -> Iterator[tuple[str, DateRange]]:
        """Give name and range, in order of time."""
        yield from (("train", self.train), ("valid", self.valid), ("test", self.test))


class SecondProcessors(ConfigPart):
    """Processors of the second window; it has no label, so nothing to learn with."""

    infer: tuple[ProcessorSpec, ...] = Field(default=ProcessorsConfig().infer, strict=False)


class SecondConfig(ConfigPart):
    """A second window beside the first, of bars at another frequency; it ends with what is known at the sample.

    A bar with a time of day is known ``lag_minutes`` after its stamp: 0 where bars are stamped with their end, their
    length where with their start. A bar of a whole day is known that long after the end of the day.
    """

    bars: Name
    feature_set: FeatureSet = FeatureSet()
    step_len: Rows = 20
    lag_minutes: int = Field(default=0, ge=0)
    processors: SecondProcessors = SecondProcessors()

    @model_validator(mode="before")
    @classmethod
    def _defaults_of_features(cls, data: Any) -> Any:
        return _with_step_len(data) if isinstance(data, dict) else data

    @model_validator(mode="after")
    def _from_bars(self) -> SecondConfig:
        if self.feature_set.type == "table":
            raise problem_at("feature_set", "type", text="want alpha158 or alpha360, got table", given="table")
        return self


class DataConfig(ConfigPart):
    """What is trained on and scored."""

    bars: Name | None = None
    features: Name | None = None
    concepts: Name | None = None
    second: SecondConfig | None = None
    universe: Name = "all"
    feature_set: FeatureSet = FeatureSet()
    label: Name = DEFAULT_LABEL
    step_len: Rows = 20
    segments: Segments
    start: Date | None = None
    processors: ProcessorsConfig = ProcessorsConfig()
    residency: Literal["auto", "resident", "streaming"] = "auto"
    embargo: int = Field(default=0, ge=0)
    horizon_given: int | None = Field(default=None, ge=0, alias="horizon")

    @model_validator(mode="before")
    @classmethod
    def _defaults_of_source(cls, data: Any) -> Any:
        """Fill in what depends on other keys: step_len of alpha360, the label of a feature table."""
        if not isinstance(data, dict):
            return data
        filled = _with_step_len(data)
        if data.get("features") is not None:
            filled.setdefault("label", LABEL_COLUMN)
        return filled

    @model_validator(mode="after")
    def _consistent(self) -> DataConfig:
        parts = (
            self._source_problems,
            self._label_problems,
            self._column_problems,
            self._fit_problems,
            self._second_problems,
        )
        problems = [problem for part in parts for problem in part()]
        if problems:
            raise problems_at(problems)
        return self

    def _source_problems(self) -> Iterator[Problem]:
        if self.bars is None and self.features is None:
            yield ("bars",), "is required: a bars dataset (or data.features: a feature table)", None
        if self.feature_set.type == "table" and self.features is None:
            yield ("feature_set", "type"), "table needs data.features, which is not given", "table"
        if self.feature_set.type == "alpha360" and self.step_len != ALPHA360_STEPS:
            yield (
                ("step_len",),
                f"alpha360 has windows of {ALPHA360_STEPS}, got {self.step_len}",
                self.step_len,
            )
        if self.start is not None and self.start > self.segments.train[0]:
            yield ("start",), f"{self.start} is after the start of train", self.start

    def _label_problems(self) -> Iterator[Problem]:
        if "$" not in self.label:
            if self.features is None:
                text = f"{self.label!r} names a column of data.features, not given; an expression has $fields"
                yield ("label",), text, self.label
            return
        try:
            parsed = parse_label(self.label)
            default = parsed.root == parse_label(DEFAULT_LABEL).root
        except ConfigError as error:
            yield ("label",), str(error), self.label
            return
        if self.horizon_given not in (None, parsed.horizon):
            text = f"is {self.horizon_given}, but {self.label} looks {parsed.horizon} bars ahead; leave it out"
            yield ("horizon",), text, self.horizon_given
        if self.features is not None and not default:
            text = f"a feature table carries its label: name its column (such as {LABEL_COLUMN})"
            yield ("label",), text, self.label

    def _column_problems(self) -> Iterator[Problem]:
        names = self.feature_set.names
        if self.label_column is not None and self.label_column in (names or ()):
            text = f"names {self.label_column}, which is the label (data.label); a feature would know the answer"
            yield ("feature_set", "columns"), text, list(names or ())
        for part, index, spec in self._specs():
            columns = spec.kwargs.get("col_list")
            if columns is None or spec.kwargs.get("fields_group") == "label":
                continue
            loc = ("processors", part, index, "kwargs", "col_list")
            if self.feature_set.type == "alpha360":
                yield loc, f"alpha360 is taken whole; {spec.name} cannot choose among its columns", columns
            elif names is not None:
                for name in columns:
                    if name not in names and name not in (LABEL_COLUMN, self.label):
                        yield loc, f"no column {name!r} among the features; {_near(name, names)}", name

    def _fit_problems(self) -> Iterator[Problem]:
        for part, index, spec in self._specs():
            fit = self.fit_range(spec)
            if fit is None:
                continue
            loc = ("processors", part, index, "kwargs", "fit_end_time")
            if fit[0] > fit[1]:
                yield loc, f"{spec.name} would be fitted from {fit[0]} to {fit[1]}, which is no range", fit[1]
            if fit[1] < self.first_date:
                text = f"{spec.name} would be fitted up to {fit[1]}, before the frame starts ({self.first_date})"
                yield loc, f"{text}; set data.start", fit[1]
            for name, (start, end) in self.segments.items():
                if name != "train" and fit[0] <= end and start <= fit[1]:
                    text = f"{spec.name} would be fitted up to {fit[1]}, inside {name} (from {start})"
                    yield loc, text, fit[1]
                    break

    def _second_problems(self) -> Iterator[Problem]:
        if self.second is None:
            return
        if self.residency == "streaming":
            text = "streaming has blocks of one window; with data.second want resident or auto"
            yield ("residency",), text, self.residency
        try:
            DataConfig.model_validate(self._second_tree())
        except ValidationError as error:
            for found in error.errors():
                if found["loc"][:1] and found["loc"][0] in SecondConfig.model_fields:
                    yield ("second", *found["loc"]), describe(found), found["input"]

    def _second_tree(self) -> dict[str, Any]:
        """What makes the second window data of their own: every instrument of its bars, over the same dates."""
        assert self.second is not None, "asked for where there is one"
        own = self.second.model_dump(by_alias=True, exclude={"lag_minutes"})
        own["processors"]["learn"] = ()
        # in place of a label the close: a row without one is no bar, and ends no window
        return {**own, "label": "$close", "segments": self.segments.model_dump(), "start": self.start}

    def _specs(self) -> Iterator[tuple[str, int, ProcessorSpec]]:
        for i, spec in enumerate(self.processors.infer):
            yield "infer", i, spec
        for i, spec in enumerate(self.processors.learn):
            yield "learn", i, spec

    @property
    def second_data(self) -> DataConfig | None:
        """The second window as data of their own: every instrument of its bars, over the same dates."""
        return None if self.second is None else DataConfig.model_validate(self._second_tree())

    @property
    def second_features(self) -> int | None:
        """Features per step of the second window; None without one."""
        return None if (second := self.second_data) is None else second.num_features

    @property
    def label_column(self) -> str | None:
        """Column of the feature table that holds the label; None where it is computed from bars."""
        if self.features is None:
            return None
        return LABEL_COLUMN if "$" in self.label else self.label

    @property
    def horizon(self) -> int | None:
        """Bars the label looks ahead; None where only the maker of the table knows, and did not say."""
        if "$" in self.label:
            return parse_label(self.label).horizon
        if self.horizon_given is not None:
            return self.horizon_given
        return parse_label(DEFAULT_LABEL).horizon if self.label == LABEL_COLUMN else None

    @property
    def computable(self) -> bool:
        """Whether bars give the label: not one that is a column of somebody's own."""
        return "$" in self.label or self.label == LABEL_COLUMN

    @property
    def first_date(self) -> dt.date:
        """First date of the frame."""
        return self.start or self.segments.train[0]

    @property
    def num_features(self) -> int | None:
        """Features per step that reach the network; None where only the table knows."""
        if self.feature_set.type == "alpha360":
            return len(ALPHA360_FIELDS)
        names = self.feature_set.names
        return None if names is None else len(self.left_by_filters(names))

    def left_by_filters(self, names: tuple[str, ...]) -> tuple[str, ...]:
        """Which of these columns the processors leave."""
        kept = set(names)
        for _, _, spec in self._specs():
            columns = set(spec.kwargs.get("col_list", ()))
            if spec.name == "FilterCol" and spec.kwargs["fields_group"] != "label":
                kept &= columns
            if spec.name == "DropCol":
                kept -= columns
        return tuple(name for name in names if name in kept)

    def fit_range(self, spec: ProcessorSpec) -> DateRange | None:
        """Dates a processor is fitted on: its own, else the train segment; None if it is not fitted."""
        arguments = spec.arguments
        if not isinstance(arguments, FitArguments):
            return None
        first, last = self.segments.train
        return arguments.fit_start_time or first, arguments.fit_end_time or last


def _with_step_len(data: dict[str, Any]) -> dict[str, Any]:
    """Copy keys, with the length of window that alpha360 has unless they name one."""
    given = data.get("feature_set")
    if (given.get("type") if isinstance(given, dict) else getattr(given, "type", None)) != "alpha360":
        return dict(data)
    return {"step_len": ALPHA360_STEPS, **data}


def _near(name: str, names: tuple[str, ...]) -> str:
    hint = nearest(name, names)
    return hint if hint.startswith("did") else f"its columns run from {names[0]} to {names[-1]}"
