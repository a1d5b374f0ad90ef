"""Ray Tune's schedulers and searches, made of what a configuration says of them."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from ray.tune.experiment import Trial
from ray.tune.schedulers import (
    AsyncHyperBandScheduler,
    FIFOScheduler,
    HyperBandScheduler,
    MedianStoppingRule,
    PopulationBasedTraining,
    TrialScheduler,
)
from ray.tune.search.optuna import OptunaSearch

from raybench.cluster.trial import TRIAL
from raybench.config.search_space import TYPE, Space, Values
from raybench.config.tune import (
    AnyDistribution,
    AnyScheduler,
    Asha,
    Choice,
    Grid,
    HyperBand,
    LogUniform,
    Median,
    Networks,
    Pbt,
    QUniform,
    RandInt,
    TpeSearch,
    Uniform,
)
from raybench.search.draws import value_of
from raybench.search.reported import GOODNESS, OWN_EPOCH

SEPARATOR = "@"  # between a key and the network that it is drawn for


def hands_over(scheduler: AnyScheduler) -> bool:
    """Whether a scheduler copies trials or pauses them, for which Tune needs their checkpoints."""
    return isinstance(scheduler, Pbt | HyperBand)


def make_scheduler(wanted: AnyScheduler, space: Space, *, max_epochs: int, seed: int = 0) -> TrialScheduler:
    """The scheduler; epochs of the network itself are its time, and ``GOODNESS`` what it compares.

    ``seed``: of what a population draws anew.
    """
    match wanted:
        case Asha():
            grace = min(wanted.grace_period, max_epochs)
            return AsyncHyperBandScheduler(
                time_attr=OWN_EPOCH, max_t=max_epochs, grace_period=grace, reduction_factor=wanted.reduction_factor
            )
        case Median():
            return MedianStoppingRule(
                time_attr="training_iteration",  # with another it stops nothing
                grace_period=wanted.grace_period,
                min_samples_required=wanted.min_samples,
            )
        case HyperBand():
            return HyperBandScheduler(time_attr=OWN_EPOCH, max_t=max_epochs, reduction_factor=wanted.reduction_factor)
        case Pbt():
            draw = random.Random(seed)
            return _Population(
                time_attr="training_iteration",
                perturbation_interval=wanted.interval,
                quantile_fraction=wanted.quantile,
                resample_probability=wanted.resample,
                hyperparam_mutations={TRIAL: {"values": {key: _drawn_anew(each, draw) for key, each in space.items()}}},
                custom_explore_fn=_Within(space),
            )
    return FIFOScheduler()


class _Population(PopulationBasedTraining):
    """Gives no trial the state of one that ended, early or not: nothing would be trained with the new values."""

    def _exploit(self, tune_controller: Any, trial: Trial, trial_to_clone: Trial) -> None:
        if not trial_to_clone.last_result.get("finished"):
            super()._exploit(tune_controller, trial, trial_to_clone)


class _Within:
    """Keeps values that a population changed within what may be drawn."""

    def __init__(self, space: Space) -> None:
        self._space = space

    def __call__(self, config: dict[str, Any]) -> dict[str, Any]:
        config = copy.deepcopy(config)
        values = config[TRIAL]["values"]
        for key, distribution in self._space.items():
            values[key] = within(distribution, values[key])
        return config


def within(distribution: AnyDistribution, value: Any) -> Any:
    """The value that may be drawn and is nearest to ``value``."""
    match distribution:
        case Uniform(uniform=(low, high)) | LogUniform(loguniform=(low, high)):
            return min(max(float(value), low), high)
        case RandInt(randint=(first, last)):
            return min(max(round(value), first), last)
        case QUniform():
            return min(distribution.values, key=lambda each: abs(each - value))
    return value


def _drawn_anew(distribution: AnyDistribution, draw: random.Random) -> Any:
    """What Tune takes new values from: a list, or a function. Its own distributions use a generator of all numpy."""
    if isinstance(distribution, Uniform | LogUniform | RandInt):
        return partial(value_of, distribution, draw)
    return list(distribution.values)


class Proposals(OptunaSearch):
    """Optuna's proposals, in rounds of as many as run side by side.

    Optuna is told what a round came to when all of it has ended, in the order in which it was proposed: so what it
    knows does not depend on which trial was faster. ``before``: those of an earlier command, proposed first and again.
    """

    def __init__(self, space: Space, wanted: TpeSearch, before: Sequence[Values] = (), *, concurrent: int) -> None:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        super().__init__(
            space=_Suggest(space),
            metric=GOODNESS,
            mode="max",
            sampler=optuna.samplers.TPESampler(seed=wanted.seed, n_startup_trials=wanted.startup),
            points_to_evaluate=[_named(values, space) for values in before] or None,
        )
        self._number, self._concurrent = 0, concurrent
        self._round: dict[str, tuple[dict[str, Any] | None, bool] | None] = {}  # by trial, what it came to

    def suggest(self, trial_id: str) -> dict[str, Any] | None:
        """Propose the next trial; None while a whole round is under way."""
        if trial_id not in self._round and len(self._round) == self._concurrent:
            return None
        params = super().suggest(trial_id)
        if params is None:
            return None
        self._round[trial_id] = None
        number, self._number = self._number, self._number + 1
        values = {name.partition(SEPARATOR)[0]: value for name, value in params.items()}
        return {TRIAL: {"number": number, "values": values}}

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Optuna prunes nothing here: schedulers do."""

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Keep what a trial came to, and tell Optuna when it was the last of its round."""
        self._round[trial_id] = (result, error)
        if len(self._round) == self._concurrent and None not in self._round.values():
            for ended, came in self._round.items():
                assert came is not None
                super().on_trial_complete(ended, came[0], came[1])
            self._round = {}


class _Suggest:
    """Asks Optuna for a value of each key, and of the keys of the network that was drawn."""

    def __init__(self, space: Space) -> None:
        self._space = space

    def __call__(self, trial: Any) -> None:
        for key, distribution in self._space.items():
            value = _suggested(trial, key, distribution)
            if isinstance(distribution, Networks):
                for sub, each in distribution.choice[value].items():
                    _suggested(trial, f"{sub}{SEPARATOR}{value}", each)


def _suggested(trial: Any, name: str, distribution: AnyDistribution) -> Any:
    suggest: Callable[..., Any]
    match distribution:
        case Uniform(uniform=(low, high)):
            return trial.suggest_float(name, low, high)
        case LogUniform(loguniform=(low, high)):
            return trial.suggest_float(name, low, high, log=True)
        case RandInt(randint=(first, last)):
            return trial.suggest_int(name, first, last)
        case QUniform(quniform=(low, high, step)):
            whole = isinstance(step, int)
            suggest = trial.suggest_int if whole else trial.suggest_float
            values = distribution.values
            return suggest(name, values[0], values[-1], step=step)
        case Choice() | Grid() | Networks():
            return trial.suggest_categorical(name, list(distribution.values))
    raise AssertionError(distribution)


def _named(values: Values, space: Space) -> dict[str, Any]:
    """Values as Optuna calls them: a key of one network has its name."""
    own = set()
    if isinstance(networks := space.get(TYPE), Networks):
        own = set(networks.choice[values[TYPE]])
    return {f"{key}{SEPARATOR}{values[TYPE]}" if key in own else key: value for key, value in values.items()}
