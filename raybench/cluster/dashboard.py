"""Whether the Ray at hand can let go of what trials of several workers hold, which goes by way of its dashboard."""

from __future__ import annotations

from ray.util.state import list_actors

from raybench.cluster.resources import Workers
from raybench.errors import ResourceError

ANSWER_SECONDS = 10


def refuse_without_dashboard(workers: Workers) -> None:
    """Refuse trials of several workers where Ray's dashboard does not answer.

    Ray Train asks it whether a trial that was stopped still lives before it gives its CPUs back; without an answer
    they are held for ever, and the search hangs.
    """
    try:
        list_actors(limit=1, timeout=ANSWER_SECONDS, raise_on_missing_output=False)
    except Exception as error:  # of requests, of Ray's state API, or a plain one
        raise ResourceError(
            f"trials of {workers.number} workers need the dashboard of Ray, by which Ray Train lets go of what a "
            "stopped one held, and this Ray has none that answers; start it with include_dashboard=True, or set "
            "cluster.num_workers to 1"
        ) from error
