"""How much each key searched matters: Optuna's fANOVA over the trials that have a metric.

fANOVA fits a random forest to the metric and splits its variance by key (Hutter, Hoos and Leyton-Brown, "An Efficient
Approach for Assessing Hyperparameter Importance", ICML 2014).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import pandas as pd

from raybench.config.search_space import Space
from raybench.config.tune import LogUniform
from raybench.search.ledger import TrialRecord

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

FEWEST = 5  # trials from which anything can be told


def importances(records: Sequence[TrialRecord], space: Space) -> pd.Series[float]:
    """Share of the metric's variance that each key explains, by key, largest first; empty where it cannot be told.

    Keys that only some trials have (of one network) are left out, as are those with one value.
    """
    known = [record for record in records if math.isfinite(record.metric)]
    keys = [key for key in (known[0].values if known else ()) if all(key in record.values for record in known)]
    keys = [key for key in keys if len({str(record.values[key]) for record in known}) > 1]
    if len(known) < FEWEST or not keys or len({record.metric for record in known}) < 2:
        return pd.Series(dtype="float64")
    import optuna
    import sklearn  # type: ignore[import-untyped]  # noqa: F401  # whose forest fANOVA is made of, and which Optuna itself does not require

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(direction="maximize")
    distributions = {key: _distribution(key, known, space) for key in keys}
    for record in known:
        study.add_trial(
            optuna.trial.create_trial(
                params={key: _comparable(record.values[key]) for key in keys},
                distributions=distributions,
                value=record.metric,
            )
        )
    evaluator = optuna.importance.FanovaImportanceEvaluator(seed=0)
    found = optuna.importance.get_param_importances(study, evaluator=evaluator)
    return pd.Series(found, dtype="float64").sort_values(ascending=False)


def _distribution(key: str, records: Sequence[TrialRecord], space: Space) -> BaseDistribution:
    from optuna.distributions import CategoricalDistribution, FloatDistribution

    values = [record.values[key] for record in records]
    if all(type(value) in (int, float) for value in values):
        logarithmic = isinstance(space.get(key), LogUniform)
        return FloatDistribution(float(min(values)), float(max(values)), log=logarithmic)
    return CategoricalDistribution(sorted({_comparable(value) for value in values}, key=str))


def _comparable(value: object) -> bool | int | float | str:
    return value if isinstance(value, (bool, int, float, str)) else str(value)
