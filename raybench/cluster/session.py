"""Being connected to Ray for as long as one command runs."""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import ray

from raybench.cluster import ran_on, waits
from raybench.cluster.address import LOCAL, cluster_address
from raybench.cluster.disks import note_local
from raybench.cluster.growth import said_by_ray, said_by_user
from raybench.cluster.head import HeadIsGoneError, leave_without_head, outlasting, until_it_answers, watched
from raybench.cluster.leftovers import SessionMark, clear_dead
from raybench.cluster.resources import Capacity, Node, capacity_of
from raybench.cluster.room import Wish, held_by_others
from raybench.cluster.starting import LOOPBACK, default_folder, give_token, on_loopback, socket_folder
from raybench.errors import ResourceError
from raybench.progress import SILENT, Progress

# Ray reads these when it is imported by its own processes, so they are set before ray.init.
_QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_DATA_DISABLE_PROGRESS_BARS": "1",
    # report() waits for one poll of the train controller (2 s by default), and each poll interrupts the workers.
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.5",
    "RAY_TRAIN_ENABLE_PRINT_PATCH": "0",
    # Seconds in which a training worker has to say that it lives (600 by default); one that hangs holds up the others.
    "RAY_TRAIN_WORKER_HEALTH_CHECK_TIMEOUT_S": "120",
    "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",
    # A process that ran data tasks keeps a few hundred MB. By default Ray keeps as many as there are CPUs for as long
    # as a training runs; a minute is enough for the next task to find one.
    "RAY_num_workers_soft_limit": "0",
    "RAY_idle_worker_killing_time_threshold_ms": "60000",
    # Processes started in advance, one per CPU: Ray Train, which sets variables for its own, cannot use them.
    "RAY_prestart_worker_first_driver": "0",
}
T = TypeVar("T")

_STATE: dict[str, Any] = {"joined": False, "place": None, "address": None}
_MARK = SessionMark()
_REFUSALS = (ConnectionError, OSError, RuntimeError, TimeoutError, ValueError, ray.exceptions.RayError)
_WAIT_FOR_NODES = "RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S"  # a minute by default; a machine takes longer to come
_WATCHER = "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER"


@contextmanager
def session(
    *,
    places: Mapping[str, str | None] | None = None,
    num_cpus: int | None = None,
    dashboard: bool = False,
    progress: Progress = SILENT,
) -> Iterator[None]:
    """Join the cluster of RAY_ADDRESS or of a local ``ray start``; start one in this process if there is none.

    A session inside a session (a notebook, a test) joins and leaves the outer one as it found it.
    ``num_cpus`` is only used for a cluster started here. By default that one has a logical CPU more than
    the machine has cores, so that data tasks still run beside training workers that fill every core. ``dashboard``:
    start it there too, as trials of several workers need, or Ray never lets go of what a stopped one held.
    ``places``: what the command reads and writes, by key or option; local ones are named where machines have to share
    them.
    ResourceError, within seconds, if the cluster does not answer, has no CPU, or none can be started here; where one
    that was joined does not answer any more (``cluster.head``), within about a minute.
    """
    waits.check()
    if ray.is_initialized():
        _go_on(places or {}, progress)
        yield
        return
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)
    address = _connect(num_cpus or (os.cpu_count() or 1) + 1, progress, dashboard=dashboard)
    own = address == LOCAL
    leaving: Callable[[], None] = ray.shutdown
    _STATE.update(joined=not own, place=ran_on.OWN if own else ran_on.joined_at(address), address=address)
    try:
        ran_on.at(_STATE["place"])
        _quiet_ray_data()
        with _of_own_cluster() if own else watched(address):
            if not own:
                there = capacity()
                _refuse_empty(there, address)
                _note_busy(there, progress)
                if there.could_be:
                    os.environ.setdefault(_WAIT_FOR_NODES, "900")
                note_local(places or {}, progress)
            yield
    except HeadIsGoneError:
        leaving = leave_without_head
        raise
    finally:
        _STATE.update(joined=False, place=None, address=None)
        leaving()
        _MARK.take_back()


def _go_on(places: Mapping[str, str | None], progress: Progress) -> None:
    """Say which cluster it is that this process is connected to, and what a session of its own would have said."""
    place = _STATE["place"]
    if place is None:  # by a call of ray.init in somebody's own code
        place = ran_on.joined_at(ray.get_runtime_context().gcs_address)
        if ran_on.at(place):
            progress.note(f"on {place}, which this process has joined")
        note_local(places, progress)
    ran_on.at(place)


def joined() -> bool:
    """Say whether the session at hand is of a cluster that others started, and that goes on after it."""
    return bool(_STATE["joined"])


def _refuse_empty(there: Capacity, address: str) -> None:
    """Refuse a cluster whose nodes have no CPU: Ray would let every task wait for one for ever."""
    if there.cpus < 1:
        raise ResourceError(
            f"the Ray cluster at {address} has no CPU ({there.told()}), and every command wants 1 at least; add a node "
            "that has some, or set RAY_ADDRESS=local to run on this machine alone"
        )


def _note_busy(there: Capacity, progress: Progress) -> None:
    """Say it where others hold every CPU of a cluster that does not grow: Ray lets all tasks wait, without a word."""
    found = None if there.could_be else held_by_others(Wish(what="each step takes", cpus=1))
    if found is not None:
        progress.note(found)


@contextmanager
def _signals_kept() -> Iterator[None]:
    """Leave the handler of SIGTERM as it is: Ray puts one of its own there, which ends the process with code 15."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    except SystemExit:  # of Ray's handler: the signal came meanwhile
        ray.shutdown()
        signal.signal(signal.SIGTERM, before)
        signal.raise_signal(signal.SIGTERM)
        raise
    finally:
        signal.signal(signal.SIGTERM, before)


def in_a_thread(work: Callable[[], T]) -> T:
    """Run what puts a handler for Ctrl-C of its own in the main thread (Ray Train does, and exits) in another.

    So an interrupt is raised here, as it is everywhere; what still runs ends with the session.
    """
    done: Future[T] = Future()

    def run() -> None:
        try:
            done.set_result(work())
        except BaseException as error:
            done.set_exception(error)

    thread = threading.Thread(target=run, name="in-a-thread", daemon=True)
    thread.start()
    while thread.is_alive():  # a lock without a time limit is not always woken by a signal
        thread.join(0.2)
    return done.result()


@contextmanager
def _of_own_cluster() -> Iterator[None]:
    """Start no watcher for nodes that are drained: this one goes when the command does. It would hold 110 MB."""
    set_by_user = _WATCHER in os.environ
    os.environ.setdefault(_WATCHER, "0")
    try:
        yield
    finally:
        if not set_by_user:
            os.environ.pop(_WATCHER, None)


def _connect(num_cpus: int, progress: Progress, *, dashboard: bool) -> str:
    """Join a cluster or start one of ``num_cpus``; return the address it has, ``local`` for one started here."""
    address = LOCAL
    try:
        address = cluster_address(progress=progress)
        with _signals_kept():
            if address == LOCAL:
                progress.note("starting Ray")
                folder = socket_folder(progress=progress)
                clear_dead(Path(folder or default_folder()))
                give_token()
                own: dict[str, Any] = {"num_cpus": num_cpus, "_temp_dir": folder, "dashboard_host": LOOPBACK}
                with on_loopback():
                    ray.init(address=LOCAL, **own, **_options(dashboard=dashboard))
                _mark_session()
            else:
                progress.note(f"joining the Ray cluster at {address}")
                with outlasting():
                    ray.init(address=address, **_options())
    except Exception as error:
        if not isinstance(error, _REFUSALS) and type(error) is not Exception:  # Ray's for a node that takes too long
            raise
        ray.shutdown()  # what had been started
        why = str(error).strip().partition(". ")[0].partition("\n")[0]
        if address == LOCAL:
            raise ResourceError(f"Ray does not start on this machine: {why}") from error
        raise ResourceError(
            f"cannot join the Ray cluster at {address} ({why}); run this on a machine of the cluster, "
            "or set RAY_ADDRESS=local to run on this machine alone"
        ) from error
    return address


def _mark_session() -> None:
    """Say whose the files of the cluster are that was started here; no public call of Ray 2.60 tells where they lie."""
    from ray._private import worker

    node: Any = worker._global_node
    if node is not None:
        _MARK.put(Path(str(node.get_session_dir_path())))


def _options(*, dashboard: bool = False) -> dict[str, Any]:
    return {"log_to_driver": False, "logging_level": logging.ERROR, "include_dashboard": dashboard}


def _quiet_ray_data() -> None:
    from ray.data import DataContext

    context = DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    logging.getLogger("ray.train").setLevel(logging.ERROR)


def told_growth() -> tuple[Node, ...]:
    """What the user says that the cluster may grow to; one of a command's own does not."""
    return () if _STATE["place"] == ran_on.OWN else said_by_user()


def cluster_cpus() -> float:
    """Logical CPUs of the whole cluster."""
    return float(ray.cluster_resources().get("CPU", 0.0))


def cluster_gpus() -> float:
    """GPUs of the whole cluster."""
    return float(ray.cluster_resources().get("GPU", 0.0))


def capacity() -> Capacity:
    """Ask Ray what is there, and what an autoscaler could add to it."""
    if joined():
        until_it_answers(_STATE["address"])
    gpu_bytes = 0
    if cluster_gpus():
        import torch

        if torch.cuda.is_available():
            gpu_bytes = torch.cuda.get_device_properties(0).total_memory
    return replace(capacity_of(ray.nodes(), told_growth() or said_by_ray()), gpu_bytes=gpu_bytes)
