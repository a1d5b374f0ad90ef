"""Scoring in a pool of Ray actors: panels through the object store, chunks of dates to whoever is free.

An actor scores each date of its chunk by itself and publishes it at once, so a job that is cut short leaves whole
dates, and the next one does the rest. The chunk of an actor that is lost is done again by another one
(``cluster.crew``), which gives the same files.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import ray
import torch

from raybench.cluster.crew import Crew, Hands
from raybench.cluster.fanout import fanout
from raybench.cluster.group import this_process
from raybench.cluster.resources import cores
from raybench.cluster.room import Wish, held_by_others
from raybench.cluster.session import capacity
from raybench.cluster.waits import node_seconds, result_seconds
from raybench.config import Config
from raybench.feeds.memory import StoredMemory
from raybench.panel import Panel, pack, unpack
from raybench.progress import Progress
from raybench.runs.artifact import StoredRun
from raybench.scoring.gaps import empty_days
from raybench.scoring.inputs import ScoringSource, device_of, panels_of
from raybench.scoring.job import DayResult, DayScorer, Target
from raybench.scoring.planning import Dates, contiguous_chunks
from raybench.scoring.predictor import Predictor

DAYS_PER_CHUNK, CHUNKS_PER_ACTOR = 16, 3  # at most, and at least where there are days enough


def score_on_ray(
    runs: Sequence[StoredRun], inputs: ScoringSource, days: Dates, target: Target, progress: Progress
) -> Iterator[DayResult]:
    """Score in a pool of actors, one for each GPU or else for each core; results come as they are done."""
    there = capacity()
    device = device_of(runs, gpus=there.gpus)
    panels = panels_of(runs, inputs, days, fanout, progress)
    models, shared = [], _Shared()
    for run, panel in zip(runs, panels, strict=True):
        target = target.knowing(empty_days(run, panel, target.min_coverage), panel.hashes)
        models.append(shared.model(run, panel))
    task = ray.put(_PoolTask(models=tuple(models), target=target, device=device))
    gpu, allowed = device == "cuda", result_seconds()
    size = there.holds_now(1, gpu=True) if gpu else cores(there)
    length = min(DAYS_PER_CHUNK, -(-len(days) // (CHUNKS_PER_ACTOR * size)))
    if any(run.config.model.remembers for run in runs):  # who begins a chunk computes the losses of a window before it
        length = -(-len(days) // size)
    chunks = contiguous_chunks(days, length)
    hands = Hands(
        hire=lambda: _PoolScorer.options(num_gpus=int(gpu)).remote(),  # type: ignore[attr-defined]
        greet=lambda actor: actor.ready.remote(),
        give=lambda actor, days: actor.work.remote([task], days),
        allowed=lambda days: allowed * max(1.0, len(days) / DAYS_PER_CHUNK),
        busy=lambda: _busy(gpu=gpu),
    )
    patience = node_seconds(several=len(there.nodes) > 1 or bool(there.could_be))
    names = [str(chunk[0]) if len(chunk) == 1 else f"{chunk[0]} to {chunk[-1]}" for chunk in chunks]
    crew = Crew(hands=hands, size=size, patience=patience, progress=progress)
    return itertools.chain.from_iterable(crew.results(chunks, names))


def _busy(*, gpu: bool) -> str | None:
    """What to say where the nodes that are there have room for a process once others have given it back."""
    if not replace(capacity(), could_be=()).holds(1, gpu=gpu):
        return None
    return held_by_others(Wish(what="a scoring process takes", cpus=1, gpus=int(gpu)))


@dataclass(frozen=True, slots=True, kw_only=True)
class _SharedModel:
    """A run and its panel, arrays as references into the object store."""

    config: Config
    weights: Mapping[str, torch.Tensor]
    memory: StoredMemory | None
    fused: bool
    panel_spec: dict[str, Any]
    panel_arrays: Mapping[str, ray.ObjectRef[Any]]

    def predictor(self, device: str) -> Predictor:
        """Put it together; the arrays come out of the object store without a copy."""
        arrays = {name: ray.get(reference) for name, reference in self.panel_arrays.items()}
        panel = unpack(self.panel_spec, arrays)
        return Predictor(self.config, self.weights, panel, device, memory=self.memory, fused=self.fused)


class _Shared:
    """Puts panels into the object store, each once."""

    def __init__(self) -> None:
        self._put: list[tuple[Panel, dict[str, Any], Mapping[str, ray.ObjectRef[Any]]]] = []

    def model(self, run: StoredRun, panel: Panel) -> _SharedModel:
        """The run with its panel, by reference."""
        known = next((each for each in self._put if each[0] is panel), None)
        if known is None:
            spec, arrays = pack(panel)
            known = panel, spec, {name: ray.put(array) for name, array in arrays.items()}
            self._put.append(known)
        _, spec, references = known
        return _SharedModel(
            config=run.config,
            weights=run.weights,
            memory=run.memory,
            fused=run.fused,
            panel_spec=spec,
            panel_arrays=references,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _PoolTask:
    models: tuple[_SharedModel, ...]
    target: Target
    device: str


@ray.remote(num_cpus=1)
class _PoolScorer:
    """A process that scores chunks of days."""

    def __init__(self) -> None:
        self._scorer: DayScorer | None = None

    def ready(self) -> str:
        """Say who answers."""
        return this_process()

    def work(self, task: list[ray.ObjectRef[_PoolTask]], days: np.ndarray) -> list[DayResult]:
        """Score days; ``task`` is in a list, so that Ray hands on the reference and not what it refers to."""
        if self._scorer is None:  # not in the constructor: an error there would lose its cause
            held: _PoolTask = ray.get(task[0])
            self._scorer = DayScorer([model.predictor(held.device) for model in held.models], held.target)
        return list(self._scorer.score_days(days))
