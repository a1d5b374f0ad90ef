"""The fits of a bench on a cluster: side by side as there is room, the longest first, over panels that they share.

Fits whose panels agree are a group. The driver prepares a group's panel, and what judges its test dates, once, puts
both into the object store, and lets go of them when its last fit has ended; only a few panels are held at once: while
these have fits that wait, a longer fit of another waits too. A fit is handed to Ray only when there is room for it, so
which comes next is decided with all that is known by then.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import ray
from ray.exceptions import OutOfMemoryError, RayError, RayTaskError

from raybench.cluster.failures import cause_of
from raybench.cluster.fanout import fanout
from raybench.cluster.jobs.bench_fit import FitTask, Outcome, failed, run_fit
from raybench.cluster.jobs.training import look_at
from raybench.cluster.packing import Room, Share
from raybench.cluster.preparation import TrainingData, prepare
from raybench.cluster.residency import ResidentRows
from raybench.comparison.fits import Fit
from raybench.comparison.on_test import Unseen, open_unseen
from raybench.comparison.order import Durations
from raybench.config import Config
from raybench.errors import DataError, of
from raybench.progress import Progress
from raybench.runs import artifact
from raybench.scoring.inputs import ScoringSource
from raybench.storage import files
from raybench.training import checkpoints
from raybench.training.sources import IN_PROCESS_BYTES, Sources

POLL_SECONDS = 0.5  # between two looks, so that Ctrl-C is heard

Hear = Callable[[Fit, Outcome], None]
"""Takes what a fit came to."""

Say = Callable[[str], None]
"""Where a line goes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Fits over one panel of ``panel_bytes``; ``share``: what each of them takes, in the order of ``fits``."""

    sources: Sources
    fits: tuple[Fit, ...]
    shares: tuple[Share, ...]
    panel_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _Open:
    """A group whose panel lies in the object store, the fits that wait for it and how many are running."""

    group: Group
    data: TrainingData
    waiting: list[tuple[Fit, Share]]
    running: set[str] = field(default_factory=set)
    unseen: dict[str, tuple[ResidentRows, ray.ObjectRef[Unseen]]] = field(default_factory=dict)


class BenchPool:
    """Runs fits.

    panels : how many are held at once. warn : is told what is odd about data
    stitched : fits keep the scores of their test dates
    """

    def __init__(
        self,
        out: str,
        *,
        room: Room,
        durations: Durations,
        panels: int,
        progress: Progress,
        hear: Hear,
        warn: Say,
        stitched: bool = False,
    ) -> None:
        self._out, self._room, self._durations, self._panels = out, room, durations, panels
        self._progress, self._hear, self._warn, self._stitched = progress, hear, warn, stitched
        self._open: list[_Open] = []
        self._running: dict[ray.ObjectRef[Outcome], tuple[_Open, Fit, Share]] = {}

    def run(self, groups: Sequence[Group]) -> None:
        """Run all fits of ``groups``; what each came to is heard as soon as it has ended."""
        waiting = list(groups)
        try:
            while waiting or self._open:
                self._begin(waiting)
                if waiting and len(self._open) < self._panels and not any(each.waiting for each in self._open):
                    group = self._longest(waiting)
                    waiting.remove(group)
                    self._open.append(self._opened(group))
                    continue
                self._wait()
                self._open = [each for each in self._open if each.waiting or each.running]
        finally:
            for reference in self._running:  # their checkpoints stay
                ray.cancel(reference, force=True)

    def _longest(self, groups: Sequence[Group]) -> Group:
        found = self._durations.longest([(fit.name, group) for group in groups for fit in group.fits])
        assert found is not None
        return found

    def _opened(self, group: Group) -> _Open:
        sources = group.sources
        with of(", ".join(dict.fromkeys(fit.name for fit in group.fits))):
            data = prepare(sources, "resident", progress=self._progress)
            look_at(data.facts, sources, self._warn)
        return _Open(group=group, data=data, waiting=list(zip(group.fits, group.shares, strict=True)))

    def _begin(self, closed: list[Group]) -> None:
        """Begin as many fits as there is room for, the longest of all first.

        Its panel is opened if it is one of ``closed``, and one more may be held.
        """
        while True:
            waiting: list[tuple[str, tuple[_Open | Group, Fit, Share]]] = [
                (fit.name, (each, fit, share)) for each in self._open for fit, share in each.waiting
            ]
            if len(self._open) < self._panels:
                waiting += [
                    (fit.name, (group, fit, share))
                    for group in closed
                    for fit, share in zip(group.fits, group.shares, strict=True)
                ]
            following = self._durations.longest(waiting)
            if following is None or not self._room.has(following[2]):
                return
            place, fit, share = following
            if isinstance(place, Group):
                closed.remove(place)
                self._open.append(self._opened(place))
            else:
                self._start(place, fit, share)

    def _start(self, group: _Open, fit: Fit, share: Share) -> None:
        test, unseen = self._unseen(group, fit.config)
        out = files.join(self._out, fit.folder)
        task = FitTask(
            fit=fit,
            out=out,
            workers=share.workers,
            rows=_resident(group.data),
            facts=group.data.facts,
            test=test,
            unseen=unseen,
            stitched=self._stitched,
        )
        options: dict[str, Any] = {"num_cpus": share.cpus, "max_retries": fit.config.cluster.max_failures}
        if share.gpu:
            options["num_gpus"] = share.gpu
        epochs = checkpoints.finished_epochs(out)
        self._progress.note(f"{fit.title}: {f'goes on after epoch {epochs}' if epochs else 'begins'}")
        self._running[run_fit.options(**options).remote(task)] = (group, fit, share)
        group.waiting.remove((fit, share))
        group.running.add(fit.folder)
        self._room.take(share)

    def _wait(self) -> None:
        """Wait a little for a fit to end, and take what it came to."""
        ended, _ = ray.wait(list(self._running), num_returns=1, timeout=POLL_SECONDS)
        for reference in ended:
            group, fit, share = self._running.pop(reference)
            group.running.discard(fit.folder)
            self._room.give_back(share)
            outcome = self._outcome(reference, fit)
            self._durations.took(fit.name, float(outcome.row.get("seconds", float("nan"))))
            self._hear(fit, outcome)

    def _outcome(self, reference: ray.ObjectRef[Outcome], fit: Fit) -> Outcome:
        try:
            outcome = ray.get(reference)
        except RayError as error:
            return failed(fit, _cause(error, fit.config.cluster.max_failures))
        if outcome.row["error"] is None and not artifact.is_finished(files.join(self._out, fit.folder)):
            raise DataError(
                f"{fit.folder} was written on a node whose disk is not this one's; --out is {self._out}, want s3:// or "
                "a folder that all nodes share"
            )
        return outcome

    def _unseen(self, group: _Open, config: Config) -> tuple[ResidentRows, ray.ObjectRef[Unseen]]:
        """What judges fits of ``config``: read once for all that agree on it."""
        said = config.data.model_dump(mode="json", by_alias=True)
        key = json.dumps([said, config.model.remembers], sort_keys=True)
        if key not in group.unseen:
            sources, facts = group.group.sources, group.data.facts
            panel, unseen = open_unseen(
                config,
                ScoringSource(bars=sources.bars, features=sources.features),
                processors=facts.processors,
                second_processors=facts.second_processors,
                needs=facts.needs,
                fanout=fanout if group.group.panel_bytes > IN_PROCESS_BYTES else map,
                progress=self._progress,
            )
            group.unseen[key] = ResidentRows.of(panel), ray.put(unseen)
        return group.unseen[key]


def _resident(data: TrainingData) -> ResidentRows:
    assert isinstance(data.rows, ResidentRows)
    return data.rows


def _cause(error: RayError, tries_again: int) -> str:
    """Why Ray gave a fit up, in one line."""
    if isinstance(error, OutOfMemoryError):
        return "its node ran out of memory; cluster.cpus_per_worker, raised, puts fewer fits side by side"
    again = f"; it was tried {tries_again + 1} times, see cluster.max_failures" if tries_again else ""
    return cause_of(error) + ("" if isinstance(error, RayTaskError) else again)
