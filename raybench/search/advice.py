"""What of a search is allowed but probably not meant."""

from __future__ import annotations

import math

from raybench.config import Config
from raybench.config.search_space import OTHER_DATA
from raybench.config.tune import Asha, HyperBand, Networks, Pbt, Uniform


def advice(config: Config, count: int | None) -> list[str]:
    """A line for each; ``count``: of trials, None if they are proposed one by one."""
    tune, found = config.tune, []
    space, epochs = config.search_space, config.train.max_epochs
    trials = tune.num_samples if count is None else count
    stop = config.train.early_stop.metric
    if stop != tune.metric and "train.early_stop.metric" not in space:
        found.append(
            f"trials keep the epoch with the best validation {stop}, and are compared by its {tune.metric}; "
            f"set train.early_stop.metric={tune.metric} to keep the best by that"
        )
    other = [key for key in space if key.startswith(OTHER_DATA)]
    if other:
        found.append(f"tune.space searches {other[0]}: trials are then compared on different validation data")
    learns = [key for key in space if key == "data.processors" or key.startswith("data.processors.learn")]
    if learns and tune.metric == "loss":
        found.append(
            f"tune.space searches {learns[0]}: losses of labels that are made otherwise are not of the same scale"
        )
    if tune.search.type == "grid" and "num_samples" in tune.model_fields_set and tune.num_samples != trials:
        found.append(f"tune.num_samples {tune.num_samples} has no effect: search grid tries all {trials} combinations")
    if isinstance(tune.scheduler, Asha) and tune.scheduler.grace_period >= epochs:
        found.append(
            f"tune.scheduler.grace_period {tune.scheduler.grace_period} is not below train.max_epochs {epochs}: "
            "no trial is stopped early"
        )
    if isinstance(tune.scheduler, HyperBand):
        brackets = round(math.log(epochs) / math.log(tune.scheduler.reduction_factor)) + 1
        if trials <= brackets:
            found.append(
                f"tune.scheduler hyperband lets the first {brackets} trials run to their end, and there are {trials}: "
                "none is stopped; raise tune.num_samples, or take asha"
            )
    if isinstance(tune.scheduler, Pbt) and trials < 4:
        found.append(f"tune.scheduler pbt has {trials} trials to copy from; want 4 or more (tune.num_samples)")
    rate = space.get("train.lr")
    if isinstance(rate, Uniform) and rate.uniform[1] / max(rate.uniform[0], 1e-12) > 20:
        found.append("tune.space.train.lr is uniform: nearly all trials get rates near its upper end; take loguniform")
    if isinstance(space.get("model.type"), Networks) and tune.scheduler.type == "median":
        found.append(
            "tune.scheduler median compares networks of different kinds, some of which learn later than others"
        )
    return found
