"""The configuration as one frozen tree: ``Config`` and its parts ``train``, ``cluster``, ``evaluate``.

Numbers are numbers (text is refused), unknown keys are errors, and every default is Qlib's benchmark setting.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, SerializeAsAny, ValidationError, model_validator

from raybench.config.common.strict import (
    ConfigPart,
    Count,
    Name,
    NonNegative,
    Positive,
    Share,
    by_type,
    first_problem,
    problem,
    problem_at,
    problems_at,
    show,
)
from raybench.config.data.label import DEFAULT_LABEL
from raybench.config.data.spec import DataConfig
from raybench.config.networks import NETWORKS, AnyNetwork
from raybench.config.networks.network import widest
from raybench.config.search_space import mutable
from raybench.config.search_space import problems as space_problems
from raybench.config.tune import DEFAULT_SPACE, AnyDistribution, TuneConfig
from raybench.reports.text import numbered

MOST_PARAMETERS = 2_000_000_000
"""8 GB of weights: far from any network for windows of bars, and a file or a key that is wrong is noticed before."""

Metric = Literal["loss", "ic", "rank_ic"]


class ConstantLR(ConfigPart):
    """The same learning rate throughout."""

    type: Literal["constant"] = "constant"


class CosineLR(ConfigPart):
    """Down along a cosine to ``min_lr`` at max_epochs, after a linear warm-up."""

    type: Literal["cosine"] = "cosine"
    warmup_epochs: int = Field(default=0, ge=0)
    min_lr: NonNegative = 0.0


class PlateauLR(ConfigPart):
    """Times ``factor`` after ``patience`` epochs without improvement."""

    type: Literal["plateau"] = "plateau"
    factor: float = Field(default=0.5, gt=0.0, lt=1.0)
    patience: Count = 5
    min_lr: NonNegative = 0.0


class ColumnWeight(ConfigPart):
    """Weight of a sample, read from a column."""

    type: Literal["column"] = "column"
    column: Name


class TimeDecayWeight(ConfigPart):
    """Weight that halves every ``half_life`` dates into the past."""

    type: Literal["time_decay"] = "time_decay"
    half_life: Positive


class EarlyStop(ConfigPart):
    """Stop after ``patience`` epochs without strict improvement of ``metric`` on the validation segment."""

    metric: Metric = "loss"
    patience: Count = 10


LR_SCHEDULES: Mapping[str, type[ConfigPart]] = {"constant": ConstantLR, "cosine": CosineLR, "plateau": PlateauLR}
SAMPLE_WEIGHTS: Mapping[str, type[ConfigPart]] = {"column": ColumnWeight, "time_decay": TimeDecayWeight}

AnySchedule = Annotated[SerializeAsAny[ConstantLR | CosineLR | PlateauLR], BeforeValidator(by_type(LR_SCHEDULES))]
AnyWeight = Annotated[SerializeAsAny[ColumnWeight | TimeDecayWeight], BeforeValidator(by_type(SAMPLE_WEIGHTS))]


class TrainConfig(ConfigPart):
    """How a network is trained. ``batch_size`` is global, whatever the number of workers, as is ``dates_per_batch``,
    which takes its place for networks that are given whole dates; None is one for each worker.
    """

    max_epochs: Count = 200
    batch_size: Count = 800
    eval_batch_size: Count | None = None
    dates_per_batch: Count | None = 1
    lr: Positive = 2e-4
    lr_schedule: AnySchedule = ConstantLR()
    optimizer: Literal["adam", "adamw", "sgd"] = "adam"
    weight_decay: NonNegative = 0.0
    momentum: Share = 0.0
    loss: Literal["mse"] = "mse"
    grad_clip_value: Positive | None = 3.0
    grad_clip_norm: Positive | None = None
    accumulate_steps: Count = 1
    activation_checkpoint: bool = False
    sample_weight: AnyWeight | None = None
    early_stop: EarlyStop = EarlyStop()
    seed: int = Field(default=0, ge=0, lt=2**63)
    precision: Literal["fp32", "bf16", "fp64"] = "fp32"
    compile: bool = False
    tensorboard: bool = False
    extra_train_pass: bool = False

    @model_validator(mode="before")
    @classmethod
    def _one_clip(cls, data: Any) -> Any:
        """Clipping by norm alone takes the place of the default clip by value."""
        if isinstance(data, Mapping) and data.get("grad_clip_norm") is not None:
            return {"grad_clip_value": None, **data}
        return data

    @model_validator(mode="after")
    def _consistent(self) -> TrainConfig:
        if self.grad_clip_value is not None and self.grad_clip_norm is not None:
            raise problem_at("grad_clip_norm", text="grad_clip_value is set too; set one of them to null")
        if self.momentum and self.optimizer != "sgd":
            raise problem_at("momentum", text=f"is for optimizer sgd, got {self.optimizer}")
        lowest = getattr(self.lr_schedule, "min_lr", 0.0)
        if lowest > self.lr:
            raise problem_at("lr_schedule", "min_lr", text=f"{lowest:g} is above train.lr, {self.lr:g}; rates go down")
        if self.accumulate_steps > self.batch_size:
            raise problem_at("accumulate_steps", text=f"{self.accumulate_steps} parts of a batch of {self.batch_size}")
        return self


def _whole(value: Any) -> Any:
    """Refuse what Python holds equal to a whole number: true and 1.0 are 1 to a Literal."""
    if type(value) is not int:
        raise problem(f"want a whole number, got {show(value)}")
    return value


def _flag_or_text(value: Any) -> Any:
    """Refuse 0 and 1, which are false and true to a Literal."""
    if not isinstance(value, (bool, str)):
        raise problem(f"want 'auto', true or false, got {show(value)}")
    return value


class ClusterConfig(ConfigPart):
    """Workers; ``num_workers`` None means one per GPU, else one; ``cpus_per_worker`` None, a share."""

    num_workers: Count | None = None
    cpus_per_worker: Count | None = None
    use_gpu: Annotated[Literal["auto", True, False], BeforeValidator(_flag_or_text)] = "auto"
    fused_layers: Annotated[Literal["auto", True, False], BeforeValidator(_flag_or_text)] = "auto"
    max_failures: int = Field(default=3, ge=0)


class EvaluateConfig(ConfigPart):
    """Settings of the backtest; without the benchmark among the bars, the universe's equal-weight mean."""

    benchmark: Name | None = "SH000300"
    account: Positive = 1e8
    topk: Count = 50
    n_drop: Count = 5
    deal_price: Name = "close"
    limit_threshold: Positive | None = 0.095
    open_cost: Share = 0.0005
    close_cost: Share = 0.0015
    min_cost: NonNegative = 5.0

    @model_validator(mode="after")
    def _consistent(self) -> EvaluateConfig:
        if self.n_drop > self.topk:
            raise problem_at("n_drop", text=f"{self.n_drop} is more than topk {self.topk}")
        return self


class Config(ConfigPart):
    """All of a run."""

    version: Annotated[Literal[1], BeforeValidator(_whole)] = 1
    data: DataConfig
    model: AnyNetwork
    train: TrainConfig = TrainConfig()
    cluster: ClusterConfig = ClusterConfig()
    tune: TuneConfig = TuneConfig()
    evaluate: EvaluateConfig = EvaluateConfig()
    recipe: Literal["raybench", "qlib"] = "raybench"

    @model_validator(mode="after")
    def _network_fits(self) -> Config:
        wrong = list(self.model.misfits(self.data, self.cluster.num_workers, self.recipe))
        if wrong:
            raise problems_at(wrong)
        return self

    @model_validator(mode="after")
    def _network_has_a_size(self) -> Config:
        features = self.data.num_features or 1
        count = self.model.under(self.recipe).parameter_count(features, self.data.step_len) or 0
        if count > MOST_PARAMETERS:
            key = widest(self.model.model_dump(by_alias=True, exclude={"type"}))
            text = f"{self.model.type} would have {count:.1e} parameters, of which {MOST_PARAMETERS:.0e} are the most"
            raise problem_at("model", *key, text=f"{text}; want less", given=None)
        return self

    @model_validator(mode="after")
    def _weights_are_no_feature(self) -> Config:
        weight, features = self.train.sample_weight, self.data.feature_set
        if (
            isinstance(weight, ColumnWeight)
            and features.type == "table"
            and weight.column.removeprefix("$") in (features.columns or ())
        ):
            text = f"{weight.column} is among data.feature_set.columns; weights are no feature: leave it out of one"
            raise problem_at("train", "sample_weight", "column", text=text, given=weight.column)
        return self

    @model_validator(mode="after")
    def _batches_stay_whole(self) -> Config:
        if self.model.whole_batches and self.train.accumulate_steps > 1:
            text = f"the loss of {self.model.type} is of a batch as a whole; want 1, and a smaller batch_size"
            raise problem_at("train", "accumulate_steps", text=text, given=self.train.accumulate_steps)
        return self

    @model_validator(mode="after")
    def _dates_fit(self) -> Config:
        """What whole dates exclude; a network of one's own is checked when it is built."""
        if self.model.batches == "windows":
            if self.train.dates_per_batch not in (None, 1) and self.model.type in NETWORKS:
                text = f"is for networks that take whole dates; {self.model.type} takes train.batch_size windows"
                raise problem_at("train", "dates_per_batch", text=text, given=self.train.dates_per_batch)
            return self
        if self.data.residency == "streaming":
            text = f"streaming has blocks of instruments, but {self.model.type} takes whole dates; want resident"
            raise problem_at("data", "residency", text=text, given="streaming")
        dates = self.train.dates_per_batch
        if dates is not None and (self.cluster.num_workers or 1) > dates:
            text = (
                f"{numbered(dates, 'date|dates')} cannot be shared by cluster.num_workers = "
                f"{self.cluster.num_workers}; want at least as many dates as workers, or null (one per worker)"
            )
            raise problem_at("train", "dates_per_batch", text=text, given=dates)
        return self

    @model_validator(mode="after")
    def _space_is_valid(self) -> Config:
        """Try what can be drawn of every key searched, each alone and then together."""
        if self.tune.space is None:
            return self
        tree = self.model_dump(by_alias=True, exclude={"tune"})
        wrong = space_problems(self.tune, tree, _wrong_with)
        if wrong:
            raise problems_at(wrong)
        return self

    @property
    def search_space(self) -> dict[str, AnyDistribution]:
        """What ``tune`` searches: the space given, else the default as far as the network has its keys."""
        if self.tune.space is not None:
            return dict(self.tune.space)
        kwargs, changing = self.model.kwargs, self.tune.scheduler.type == "pbt"
        return {
            key: distribution
            for key, distribution in DEFAULT_SPACE.items()
            if (not key.startswith("model.") or key[6:] in kwargs) and (mutable(key) or not changing)
        }

    def warnings(self) -> tuple[str, ...]:
        """Say what is allowed but probably not meant."""
        return (
            *_without_effect(self),
            *_unknown_horizon(self.data),
            *_known_already(self.data),
            *_crossings(self.data),
            *_short_fits(self.data),
            *_idle_concepts(self),
            *_long_warmup(self.train),
        )


def _wrong_with(tree: Mapping[str, Any]) -> str:
    """Say what is wrong with a configuration; empty if it is valid."""
    try:
        Config.model_validate(tree)
    except ValidationError as error:
        return first_problem(error)
    return ""


WITHOUT_EFFECT = ("evaluate",)
"""Parts that are checked, so that a configuration which has them stays valid, but that no command reads yet."""


def _without_effect(config: Config) -> list[str]:
    """Parts that were given values which nothing uses; a run's own configuration lists the defaults."""
    given = {"evaluate": config.evaluate != EvaluateConfig()}
    return [f"{part} has no effect yet: no command reads it" for part in WITHOUT_EFFECT if given[part]]


def _unknown_horizon(data: DataConfig) -> list[str]:
    """A label of somebody's own, of which nobody said how far it looks."""
    if data.horizon is not None:
        return []
    return [
        f"how far the label {data.label} looks ahead is not known: set data.horizon to its number of bars (2 for a "
        "return from tomorrow's close to the next), so that labels that reach into the next segment can be told"
    ]


def _known_already(data: DataConfig) -> list[str]:
    """A label that looks at no later bar: the features of its date know it, and nothing is forecast."""
    if data.horizon != 0:
        return []
    return [
        f"the label {data.label} looks at no later bar: what it says is known on its own date, so a high IC means "
        f"nothing; want one that looks ahead, such as {DEFAULT_LABEL}"
    ]


def _crossings(data: DataConfig) -> list[str]:
    """Labels that look across a segment border. Weekdays stand for dates: no calendar is at hand."""
    horizon = data.horizon
    if horizon is None:
        return []
    found = []
    for (earlier, (_, end)), (later, (start, _)) in data.segments.borders():
        gap = _weekdays_between(end.toordinal(), start.toordinal())
        if gap + data.embargo < horizon:
            count = horizon - gap - data.embargo
            what = numbered(count, f"label|labels of {earlier} (to {end}) looks|look into {later} ")
            found.append(
                f"the last {what}(from {start}), horizon {horizon}; set data.embargo to {horizon - gap} to drop them"
            )
    return found


def _short_fits(data: DataConfig) -> list[str]:
    """Fit ranges that start before the frame does."""
    found = []
    for spec in (*data.processors.infer, *data.processors.learn):
        fit = data.fit_range(spec)
        if fit is not None and fit[0] < data.first_date:
            found.append(
                f"{spec.name} is to be fitted from {fit[0]}, but the frame starts on {data.first_date}; "
                f"set data.start to {fit[0]}"
            )
    return found


def _idle_concepts(config: Config) -> list[str]:
    """Concepts that the network does not look at; one's own may."""
    model = config.model
    if config.data.concepts is None or model.type not in NETWORKS or getattr(model, "uses_concepts", False):
        return []
    return [f"data.concepts is not used: {model.type} does not look at concepts"]


def _long_warmup(train: TrainConfig) -> list[str]:
    """A rate that never gets to what is asked for."""
    warmup = getattr(train.lr_schedule, "warmup_epochs", 0)
    if warmup < train.max_epochs:
        return []
    return [
        f"train.lr_schedule.warmup_epochs is {warmup}, and train.max_epochs {train.max_epochs}: train.lr is not reached"
    ]


def _weekdays_between(end: int, start: int) -> int:
    """Count the weekdays strictly between two ordinals (1 is a Monday), a year of them at most."""
    return sum(1 for day in range(end + 1, min(start, end + 400)) if (day - 1) % 7 < 5)
