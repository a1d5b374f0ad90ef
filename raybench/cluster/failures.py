"""Failures of a training: which end it at once, which Ray Train tries again, and what people are told.

A user error comes out the same however often it is tried, so it ends the training with the first worker that raises
it. What Ray Train calls when workers raise runs in its controller, a process that needs neither torch nor pandas.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator

from ray.exceptions import ActorDiedError, NodeDiedError, OutOfMemoryError, RayTaskError, WorkerCrashedError
from ray.train import ControllerError, TrainingFailedError, UserCallback, WorkerGroupError

from raybench.errors import RaybenchError, ResourceError, RunError, UserError, in_one_line

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EFBIG)


class EndsOnUserErrors(UserCallback):
    """Raises in the controller what a worker raised, which is an error that Ray Train does not try again.

    So it does where the run directory takes no more: that is the user's to put right, too.
    """

    def after_exception(self, run_context: object, worker_exceptions: dict[int, Exception]) -> None:
        """Called with the errors of the workers by rank, before Ray Train decides what to do."""
        for _, error in sorted(worker_exceptions.items()):
            found = user_error(error) or _no_room(error)
            if found is not None:
                raise found


def user_error(error: BaseException) -> UserError | None:
    """The first error of the user in ``error`` or in what it was raised for."""
    for one in _causes(error):
        if isinstance(one, UserError):
            return one
    return None


def cause_of(error: BaseException) -> str:
    """Why Ray gave a process up, in one line: the error of its code, or what became of it."""
    found = user_error(error)
    if found is not None:
        return in_one_line(found)
    for one in _causes(error):
        if isinstance(one, OutOfMemoryError):
            return "its node ran out of memory; lower tune.max_concurrent, or the size of the network or of its batches"
        if isinstance(one, ActorDiedError | WorkerCrashedError):
            return "its process was killed"
        if isinstance(one, NodeDiedError):
            return "its node is gone"
        if type(one).__name__ == "WorkerHealthCheckTimeoutError":
            return "it did not say that it lives for too long: it hangs, or its machine is gone"
    return in_one_line(list(_causes(error))[-1])


def as_told(error: TrainingFailedError, *, out: str, max_failures: int) -> RaybenchError:
    """What to raise for a training that Ray Train gave up, ``out`` being its run directory."""
    found = user_error(error)
    if found is not None:
        return found
    refused = _no_room(error)
    if refused is not None and refused.errno is not None:
        return RunError(f"{out}: cannot be written: {os.strerror(refused.errno)}; make room, then go on with --resume")
    if isinstance(error, ControllerError) and "StartupTimeout" in type(error.controller_failure).__name__:
        return ResourceError(
            "the workers could not be started: the cluster no longer has room for them; free some of it, lower "
            "cluster.num_workers or cluster.cpus_per_worker, then go on with --resume"
        )
    if isinstance(error, WorkerGroupError):
        return given_up(error, max_failures)
    return RaybenchError(f"training failed in Ray Train's controller: {cause_of(error)}; go on with --resume")


def given_up(error: BaseException, max_failures: int) -> RaybenchError:
    """What to raise for a training that was tried as often as it may be, and failed of ``error`` in the end."""
    return RaybenchError(
        f"training failed more than cluster.max_failures = {max_failures} times, the last time of: {cause_of(error)}; "
        "the epochs that are done are kept, go on with --resume"
    )


def _no_room(error: BaseException) -> OSError | None:
    for one in _causes(error):
        if isinstance(one, OSError) and one.errno in _NO_ROOM:
            return one
    return None


def _causes(error: BaseException) -> Iterator[BaseException]:
    """An error and all that it was raised for, through what Ray wraps around it."""
    waiting, seen = [error], set()
    while waiting:
        one = waiting.pop(0)
        if id(one) in seen:
            continue
        seen.add(id(one))
        yield one
        inner = [one.__cause__, getattr(one, "controller_failure", None)]
        inner += list(getattr(one, "worker_failures", {}).values())
        inner += [one.cause] if isinstance(one, RayTaskError) else []
        waiting += [each for each in inner if isinstance(each, BaseException)]
