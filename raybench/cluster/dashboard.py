"""Ray's dashboard, by which Ray Train lets go of what a training held: whose it is, and whether it answers.

Ray Train has a process of its own ask the state API whether the training still lives; where it does not, its workers'
CPUs are given back, that is, the workers end.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import ray
from ray.util.state import list_actors

from raybench.cluster.environment import with_variable

ANSWER_SECONDS = 10
_API_SERVER = "RAY_API_SERVER_ADDRESS"


@contextmanager
def of_this_cluster() -> Iterator[None]:
    """Have what this process, and trainings started meanwhile, ask of Ray's state API answered by this cluster.

    By itself the API takes the last ``ray start`` of the machine. Where that is another cluster it knows nothing of the
    training, whose workers are then ended; where several clusters run it knows not which to take, and what a stopped
    trial held is never given back.
    """
    from ray.train.v2._internal import constants

    constants.ENV_VARS_TO_PROPAGATE.add(_API_SERVER)  # to the controller; what that starts has it by inheritance
    with with_variable(_API_SERVER, ray.get_runtime_context().gcs_address):
        yield


def without_dashboard() -> str | None:
    """What to say where Ray's dashboard does not answer, None where it does.

    Ray Train asks it whether a trial that was stopped still lives before it gives its CPUs back; without an answer
    they are held for ever.
    """
    try:
        with of_this_cluster():
            list_actors(limit=1, timeout=ANSWER_SECONDS, raise_on_missing_output=False)
    except Exception:  # of requests, of Ray's state API, or a plain one
        return (
            "the dashboard of this Ray does not answer, by which Ray Train lets go of what a stopped trial of several "
            "workers held: the search may wait for ever; start Ray with include_dashboard=True, or set "
            "cluster.num_workers to 1"
        )
    return None
