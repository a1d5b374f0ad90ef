"""How long is waited for what may come back or may never come; each is set, in seconds, by an environment variable."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping

from raybench.errors import ConfigError

NODE = "RAYBENCH_NODE_SECONDS"
RESULT = "RAYBENCH_RESULT_SECONDS"

ALONE_SECONDS = 120.0  # on a cluster of one node: nobody brings another, and Ray notices within 30 what is gone
JOINED_SECONDS = 900.0  # a pod that is scheduled anew waits minutes for its machine, and minutes for its image
RESULT_SECONDS = 1800.0


def node_seconds(*, several: bool) -> float:
    """How long to wait for a node, or for room on one, where the cluster has, or could have, ``several``."""
    return _seconds(NODE, JOINED_SECONDS if several else ALONE_SECONDS)


def result_seconds() -> float:
    """How long a process may work on a task of usual size without any result before it is taken to hang."""
    return _seconds(RESULT, RESULT_SECONDS)


def check() -> None:
    """ConfigError if one of the variables is no number of seconds."""
    node_seconds(several=True)
    result_seconds()


def _seconds(name: str, usual: float, environment: Mapping[str, str] = os.environ) -> float:
    given = environment.get(name, "").strip()
    if not given:
        return usual
    try:
        seconds = float(given)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds < math.inf:
        raise ConfigError(f"{name} is {given!r}; want a number of seconds above 0, or unset it for {usual:g}")
    return seconds
