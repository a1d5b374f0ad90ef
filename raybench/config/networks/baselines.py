"""Baselines, fitted without gradient steps: linear, lightgbm, persistence."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Annotated, ClassVar, Literal

from pydantic import Field, field_validator, model_validator

from raybench.config.common.strict import Count, Name, NonNegative, Positive, problem, problem_at, show
from raybench.config.data.alpha_names import ALPHA158_WINDOWS
from raybench.config.data.spec import DataConfig
from raybench.config.networks.network import Fitting, Misfit, ModelConfig

NORMALISING = ("RobustZScoreNorm", "ZScoreNorm", "MinMaxNorm", "CSRankNorm", "CSZScoreNorm", "TanhProcess")


def past_price(names: Sequence[str], column: str | None) -> str | None:
    """Return what persistence reads of the features ``names``: ``column``, else the shortest; None: it is not there."""
    wanted = ("CLOSE1", *(f"ROC{window}" for window in ALPHA158_WINDOWS)) if column is None else (column,)
    return next((name for name in wanted if name in names), None)


class Linear(ModelConfig):
    """Least squares or ridge regression on the whole window."""

    fitting: ClassVar[Fitting] = "direct"
    needs: ClassVar[str] = "windows (step_len 1: a row); one pass, no gradient steps"

    type: Literal["linear"] = "linear"
    estimator: Literal["ols", "ridge"] = "ols"
    alpha: NonNegative = 0.0
    fit_intercept: bool = False

    @model_validator(mode="after")
    def _penalised(self) -> Linear:
        if self.alpha and self.estimator != "ridge":
            raise problem_at("alpha", text=f"is for estimator ridge, got {self.estimator}", given=self.alpha)
        return self

    def parameter_count(self, num_features: int, step_len: int) -> int:
        return num_features * step_len + self.fit_intercept


class LightGBM(ModelConfig):
    """Boosted trees (Ke et al. 2017) under LightGBM's own names; defaults are Qlib's benchmark on Alpha158.

    ``subsample`` has an effect only with a ``subsample_freq``, which Qlib's benchmark does not set.
    """

    fitting: ClassVar[Fitting] = "direct"
    one_process: ClassVar[bool] = True
    traceable: ClassVar[bool] = False
    needs: ClassVar[str] = "windows (step_len 1: a row); one worker; pip install raybench[lightgbm]"

    type: Literal["lightgbm"] = "lightgbm"
    num_boost_round: Count = 1000
    early_stopping_rounds: Count = 50
    learning_rate: Positive = 0.2
    num_leaves: int = Field(default=210, ge=2)
    max_depth: int = 8
    min_child_samples: Count = 20
    colsample_bytree: Annotated[float, Field(gt=0.0, le=1.0)] = 0.8879
    subsample: Annotated[float, Field(gt=0.0, le=1.0)] = 0.8789
    subsample_freq: int = Field(default=0, ge=0)
    lambda_l1: NonNegative = 205.6999
    lambda_l2: NonNegative = 580.9768

    def parameter_count(self, num_features: int, step_len: int) -> int:
        return 0  # trees are no parameters, and how many there will be the data decide


class Persistence(ModelConfig):
    """The return just past (``sign`` 1: momentum) or its negative (-1: reversal).

    ``column``: a feature that is a past close over today's. Unless given, the shortest there is: CLOSE1 of Alpha360,
    for the return of one day, or ROC5 of Alpha158, for that of five days (if ROC5 is not chosen, ROC10 and so on).
    """

    fitting: ClassVar[Fitting] = "direct"
    needs: ClassVar[str] = "one feature, not normalised: CLOSE1 of alpha360, ROC5 of alpha158; nothing is learnt"

    type: Literal["persistence"] = "persistence"
    column: Name | None = None
    sign: int = 1

    @field_validator("sign", mode="after")
    @classmethod
    def _one(cls, value: int) -> int:
        if value not in (1, -1):
            raise problem(f"want 1 (momentum) or -1 (reversal), got {show(value)}")
        return value

    def parameter_count(self, num_features: int, step_len: int) -> int:
        return 0

    def misfits(self, data: DataConfig, num_workers: int | None, recipe: str) -> Iterator[Misfit]:
        kind, names = data.feature_set.type, data.feature_set.names
        if self.column is not None and kind != "table" and not re.fullmatch(r"CLOSE[1-9]\d*|ROC\d+", self.column):
            text = f"want a past close over today's, such as {'CLOSE1' if kind == 'alpha360' else 'ROC5'}"
            yield ("model", "column"), f"{text}, got {self.column!r}", self.column
        elif names is not None and past_price(names, self.column) is None:
            key = ("model", "column") if kind == "alpha360" else ("data", "feature_set", "columns")
            yield key, f"{self.column or 'ROC5'}, which persistence reads, is not among the features", self.column
        for part in ("infer", "learn"):
            for i, spec in enumerate(getattr(data.processors, part)):
                if spec.name in NORMALISING and spec.kwargs.get("fields_group") in (None, "feature"):
                    text = f"{spec.name} changes the past price that persistence reads; leave it out (Fillna may stay)"
                    yield ("data", "processors", part, i), text, spec.name
