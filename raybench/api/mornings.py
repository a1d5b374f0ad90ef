"""``raybench.status`` and ``raybench.daily``: how a score table stands, and a morning's work on it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from raybench.api.placing import Place
from raybench.api.speaking import in_arguments, shown, speaks_of_arguments
from raybench.columns.moments import Moment
from raybench.config.common.strict import first_problem
from raybench.config.daily import DailyConfig, parse_daily
from raybench.config.load import read_text
from raybench.errors import ConfigError
from raybench.progress import Progress, warn

if TYPE_CHECKING:
    from raybench.cluster.jobs.daily import DailyResult
    from raybench.scoring.status import Status


@speaks_of_arguments
def status(
    scores: Place,
    bars: Place | None = None,
    *,
    features: Place | None = None,
    second: Place | None = None,
    concepts: Place | None = None,
    market: str | None = None,
    start: Moment | None = None,
    end: Moment | None = None,
    progress: bool | Progress = False,
) -> Status:
    """Look at a score table: which dates are there, and with the data it was made from which are missing or stale.

    ``bars`` or ``features``: what it was scored from; ``second`` and ``concepts``: what else its run reads. ``start``
    and ``end`` bound what is looked at. ``market``: an exchange (XSHG, XNYS, 24/7) whose last session should be there,
    too. ``.whole`` of what is returned says whether the newest date is there.
    """
    from raybench.scoring.planning import parse_day
    from raybench.scoring.status import status as work

    def address(place: Place | None) -> str | None:
        return None if place is None else os.fspath(place)

    return work(
        os.fspath(scores),
        bars=address(bars),
        features=address(features),
        second=address(second),
        concepts=address(concepts),
        market=market,
        start=None if start is None else parse_day("--start", start),
        end=None if end is None else parse_day("--end", end),
        progress=shown(progress),
    )


@speaks_of_arguments
def daily(config: Place | Mapping[str, Any] | DailyConfig, *, progress: bool | Progress = False) -> DailyResult:
    """Append the bars that have come, score the new dates and look at the table, as ``raybench daily`` does.

    ``config``: a YAML file, or what one would hold. It is safe to call again, and twice at once; ``.up_to_date`` of
    what is returned says whether the newest date of the bars has scores.
    """
    from raybench.cluster.jobs.daily import daily as work

    done = work(_config_of(config), progress=shown(progress))
    warn(in_arguments(line, daily) for line in done.warnings)
    return done


def _config_of(config: Place | Mapping[str, Any] | DailyConfig) -> DailyConfig:
    if isinstance(config, DailyConfig):
        return config
    if not isinstance(config, Mapping):
        return parse_daily(read_text(config), name=os.fspath(config))
    try:
        return DailyConfig.model_validate(config)
    except ValidationError as error:
        raise ConfigError(f"config: {first_problem(error)}") from None
