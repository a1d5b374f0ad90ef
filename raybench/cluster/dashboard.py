"""Whether the Ray at hand can let go of what trials of several workers hold, which goes by way of its dashboard."""

from __future__ import annotations

from ray.util.state import list_actors

ANSWER_SECONDS = 10


def without_dashboard() -> str | None:
    """What to say where Ray's dashboard does not answer, None where it does.

    Ray Train asks it whether a trial that was stopped still lives before it gives its CPUs back; without an answer
    they are held for ever.
    """
    try:
        list_actors(limit=1, timeout=ANSWER_SECONDS, raise_on_missing_output=False)
    except Exception:  # of requests, of Ray's state API, or a plain one
        return (
            "the dashboard of this Ray does not answer, by which Ray Train lets go of what a stopped trial of several "
            "workers held: the search may wait for ever; start Ray with include_dashboard=True, or set "
            "cluster.num_workers to 1"
        )
    return None
