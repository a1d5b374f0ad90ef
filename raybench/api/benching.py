"""``raybench.bench``: several configurations with several seeds, judged on their test dates."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

from raybench.api.placing import Place, default_out
from raybench.api.speaking import in_arguments, shown, speaks_of_arguments
from raybench.comparison.fits import names_of
from raybench.config import Config, load_config
from raybench.config.load import Source
from raybench.config.seeds import Seeds
from raybench.progress import Progress, warn

if TYPE_CHECKING:  # it loads Ray
    from raybench.cluster.jobs.benching import BenchResult


@speaks_of_arguments
def bench(
    configs: Source | Sequence[Source] | Mapping[str, Source],
    *,
    seeds: Seeds = 1,
    out: Place | None = None,
    resume: bool = False,
    rolling: str | None = None,
    expanding: bool = False,
    progress: bool | Progress = False,
    **changes: Any,
) -> BenchResult:
    """Train configurations with several seeds side by side on Ray, and judge each fit on its test dates.

    ``configs``: one, several, or several by name; each a path, a mapping or a Config, named by its file, or its network
    where there is none. ``seeds``: how many, from each one's train.seed on, or which. ``out`` is the folder of the
    bench; by default a new one in ``runs/`` of the working directory. ``rolling`` steps all segments through time, by
    1y, 6m or 60d, ``expanding`` keeping the first train date. ``changes`` are keys with dots and their values, which
    all configurations get. ``.results`` of what is returned has a row for each fit.
    """
    from raybench.cluster.jobs.benching import bench as work

    told: list[str] = []
    done = work(
        {name: load_config(config, changes) for name, config in _by_name(configs).items()},
        seeds=seeds,
        out=default_out("bench") if out is None else os.fspath(out),
        resume=resume,
        rolling=rolling,
        expanding=expanding,
        progress=shown(progress),
        warn=told.append,
    )
    warn(in_arguments(line, bench) for line in told)
    return done


def _by_name(configs: Source | Sequence[Source] | Mapping[str, Source]) -> dict[str, Source]:
    """Configurations by the names that they are given or have."""
    if isinstance(configs, Mapping) and not set(configs) & set(Config.model_fields):
        return dict(configs)
    several: list[Source] = list(configs) if isinstance(configs, list | tuple) else [cast("Source", configs)]
    return dict(zip(names_of([_place(each) for each in several]), several, strict=True))


def _place(config: Source) -> str:
    """What a configuration is named by: its file, or its network."""
    return os.fspath(config) if isinstance(config, str | os.PathLike) else load_config(config).model.type
