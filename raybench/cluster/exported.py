"""What Prometheus sees of a job: gauges of Ray, which puts ``ray_`` before their names and exports them on each node.

What a training tells lives as long as its processes. What is known of a score table is to be seen for longer than a
morning takes, and Ray forgets a gauge 20 s after the process that set it: a small actor keeps it for as long as the
cluster lives. It has one where others started the cluster; nobody scrapes one that ends with the command.

GPUs and their memory Ray exports by itself (``ray_node_gpus_utilization``).
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import ray
from ray.util.metrics import Gauge

import raybench

if TYPE_CHECKING:  # torch, which the actor does without
    import torch
    from torch import nn

    from raybench.config import Config
    from raybench.feeds.batches import Batch, TrainingFeed
    from raybench.feeds.feeds import Feeds
    from raybench.feeds.world import World
    from raybench.training.rank import MakesFeeds
    from raybench.training.state import EpochRecord

GAUGES: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "raybench_training_epoch": ("Epochs that a training has done", ("run",)),
    "raybench_training_rows_per_second": ("Samples per second of its last epoch, validation included", ("run",)),
    "raybench_training_wait_share": ("Share of its last epoch that a rank waited for batches", ("run", "rank")),
    "raybench_scoring_rows_per_second": ("Scores per second of the last job on a score table", ("scores",)),
    "raybench_scored_rows": ("Rows of a date that the last job wrote", ("scores", "date")),
    "raybench_last_scored_date_seconds": ("Newest date of a score table, unix time of its midnight UTC", ("scores",)),
    "raybench_refused_dates": ("Dates of a score table that are refused for their coverage", ("scores",)),
}
"""What each gauge means, and by which tags it is told apart."""

SHOWN_DATES = 20  # newest of a job: each date is a time series of its own
ANSWER_SECONDS = 20.0

Fact = tuple[str, float, dict[str, str]]


class Gauges:
    """The gauges of this process, each made when it is first set."""

    def __init__(self) -> None:
        self._made: dict[str, Gauge] = {}

    def set(self, name: str, value: float, tags: dict[str, str]) -> None:
        """Set one of :data:`GAUGES`."""
        if name not in self._made:
            meaning, keys = GAUGES[name]
            self._made[name] = Gauge(name, description=meaning, tag_keys=keys)
        self._made[name].set(value, tags=tags)


class TrainingGauges:
    """What one rank of a training tells, epoch by epoch; ``feeds`` are to be made through it."""

    def __init__(self, run: str, rank: int = 0) -> None:
        self._run, self._rank = run, rank
        self._gauges = Gauges()
        self._waited = 0.0

    def watching(self, make: MakesFeeds) -> MakesFeeds:
        """Make the same feeds, and take the time that the loop waits for batches to train on."""

        def feeds(
            config: Config, world: World, device: torch.device, *, dates: bool, network: nn.Module | None = None
        ) -> Feeds:
            made = make(config, world, device, dates=dates, network=network)
            return replace(made, train=_Watched(made.train, self))

        return feeds

    def waited(self, seconds: float) -> None:
        """Add to what the epoch at hand has waited."""
        self._waited += seconds

    def show(self, record: EpochRecord) -> None:
        """Tell of an epoch that is done."""
        run = {"run": self._run}
        waited, self._waited = self._waited, 0.0
        share = waited / record.seconds if record.seconds > 0 else 0.0
        self._gauges.set("raybench_training_wait_share", share, {**run, "rank": str(self._rank)})
        if self._rank == 0:
            self._gauges.set("raybench_training_epoch", record.epoch, run)
            self._gauges.set("raybench_training_rows_per_second", record.samples_per_second, run)


@dataclass(frozen=True, slots=True)
class _Watched:
    """A feed whose batches are waited for with a clock in hand."""

    feed: TrainingFeed
    gauges: TrainingGauges

    def epoch(self, epoch: int) -> Iterator[Batch]:
        batches = iter(self.feed.epoch(epoch))
        while True:
            began = time.perf_counter()
            batch = next(batches, None)
            self.gauges.waited(time.perf_counter() - began)
            if batch is None:
                return
            yield batch

    def steps(self) -> int | None:
        return self.feed.steps()


@ray.remote(num_cpus=0, max_restarts=-1)
class _Board:
    """Keeps gauges for as long as the cluster lives."""

    def __init__(self) -> None:
        self._gauges = Gauges()

    def show(self, facts: Sequence[Fact]) -> None:
        for name, value, tags in facts:
            self._gauges.set(name, value, tags)


def show_scores(
    scores: str,
    *,
    last: str | None,
    refused: int,
    rows: Mapping[str, int] | None = None,
    per_second: float | None = None,
) -> None:
    """Tell the cluster of this session what a job on a score table came to; of what is None nothing is told.

    A cluster that cannot take it now costs the job nothing but that.
    """
    table = {"scores": scores}
    facts: list[Fact] = [("raybench_refused_dates", float(refused), table)]
    if last is not None:
        facts.append(("raybench_last_scored_date_seconds", _midnight(last), table))
    if per_second is not None:
        facts.append(("raybench_scoring_rows_per_second", per_second, table))
    newest = sorted((rows or {}).items())[-SHOWN_DATES:]
    facts += [("raybench_scored_rows", float(count), {**table, "date": day}) for day, count in newest]
    try:
        ray.get(_board().show.remote(facts), timeout=ANSWER_SECONDS)
    except (ray.exceptions.RayError, TimeoutError, ValueError, RuntimeError):
        return


def _board() -> Any:
    """The actor of this version of raybench, started where there is none."""
    return _Board.options(  # type: ignore[attr-defined]
        name=f"raybench-board-{raybench.__version__}",
        namespace="raybench",
        lifetime="detached",
        get_if_exists=True,
    ).remote()


def _midnight(day: str) -> float:
    return datetime.fromisoformat(day[:10]).replace(tzinfo=UTC).timestamp()
