"""A bench: every configuration with every seed, each an independent fit, and the table of what they came to.

    DIR/bench.json       what was asked for, published first; how it ended, last (``comparison.asked``)
    DIR/runs/<name>/seed-N                a run each, ready for ``raybench score``; runs/<name>/<roll>/seed-N if rolling
    DIR/results.parquet, daily/<name>.parquet   grow as fits end (``comparison.results``)
    DIR/table.md, table.csv, report.html, report.json   at the end, or of what is there when it is interrupted
    DIR/scores/<name>, evaluation/<name>  if rolling: out-of-sample scores of all rolls, and what they are worth

Fits run on Ray (``bench_pool``). One that fails is a row with its cause. A bench that was interrupted or killed
goes on with ``--resume``: fits that ended well stay, begun ones go on from their checkpoints, failed ones are tried
again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pandas as pd

import raybench
from raybench.cluster.jobs.bench_data import (
    FitData,
    check_room,
    durations_of,
    groups_of,
    opened_data,
    panels_at_once,
    refuse_changed_data,
    refuse_too_large,
)
from raybench.cluster.jobs.bench_fit import Outcome
from raybench.cluster.jobs.bench_pool import BenchPool
from raybench.cluster.jobs.ownership import claim
from raybench.cluster.packing import Room, refuse_streaming
from raybench.cluster.session import capacity, session
from raybench.comparison.asked import Asked, Bench, Ended
from raybench.comparison.fits import Fit, plan_fits, seedless
from raybench.comparison.judging import differences
from raybench.comparison.ledger import Results
from raybench.comparison.results import TABLE, read_results
from raybench.comparison.stitching import stitch
from raybench.config import Config, with_absolute_paths
from raybench.config.identity import data_places
from raybench.config.seeds import Seeds
from raybench.errors import DataError, RunError
from raybench.evaluation.job import evaluate_scores
from raybench.progress import SILENT, Progress
from raybench.reports.cards import ResultCard
from raybench.runs import artifact
from raybench.runs.events import require_tensorboard
from raybench.runs.folders import RUNS
from raybench.storage import files, parquet
from raybench.storage.claims import held
from raybench.storage.places import Kind, refuse_others

SCORES, EVALUATION = "scores", "evaluation"

Say = Callable[[str], None]
"""Where a line goes."""


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class BenchResult(ResultCard):
    """What a bench came to: a row for each fit, as ``comparison.results`` has it.

    done_before : whether it was finished already. seconds: what all its commands took.
    """

    uri: str
    results: pd.DataFrame
    daily: pd.DataFrame
    seconds: float
    done_before: bool = False
    warnings: tuple[str, ...] = ()

    @property
    def report(self) -> str:
        """Address of the page."""
        return files.join(self.uri, "report.html")

    @property
    def failed(self) -> int:
        """How many fits failed."""
        return int(self.results["error"].notna().sum())

    def card(self) -> tuple[str, Mapping[str, Any]]:
        """The best configurations, for a prompt or a notebook."""
        means = self.results.groupby("name", sort=False)["Rank IC"].mean().dropna().sort_values(ascending=False)
        return f"bench {self.uri}", {
            "fits": len(self.results),
            "failed": self.failed or None,
            **{str(name): f"Rank IC {mean:.4f}" for name, mean in means.head(10).items()},
            "report": self.report,
        }


def bench(
    configs: Mapping[str, Config],
    *,
    seeds: Seeds = 1,
    out: str,
    resume: bool = False,
    rolling: str | None = None,
    expanding: bool = False,
    progress: Progress = SILENT,
    warn: Say | None = None,
) -> BenchResult:
    """Fit ``configs``, by name, with every seed, and judge each on its test dates, into the folder ``out``.

    ``seeds``: how many, from each configuration's train.seed on, or which. ``rolling``: by how much segments step
    through time (``comparison.rolls``), ``expanding`` keeping the first train date. A finished bench is given as it is;
    one that was begun goes on with ``resume``. RunError if ``out`` belongs to another bench, or is begun and ``resume``
    is not given. All that can be wrong with what is asked is told before the first fit.
    """
    say = warn or progress.note
    configs = {name: with_absolute_paths(config) for name, config in configs.items()}
    fits = plan_fits(configs, seeds, rolling=rolling, expanding=expanding)
    refuse_streaming(configs.values())
    for config in configs.values():
        require_tensorboard(wanted=config.train.tensorboard)
    out = files.open_location(out).uri
    refuse_others(out, Kind.BENCH, option="--out")
    asked = Asked.of(fits, rolling, expanding=expanding)
    if _done(out, asked, resume=resume):
        return load_bench(out, fits)
    with held(out, what="bench", say=progress.note):
        if _done(out, asked, resume=resume):  # its owner ended it in between
            return load_bench(out, fits)
        return _Benching(out, fits, asked, progress, say).run()


def load_bench(out: str, fits: Sequence[Fit]) -> BenchResult:
    """Open a finished bench of these ``fits``."""
    stored = Bench.read(out)
    if stored is None or stored.ended is None:
        raise RunError(f"{out} is not a finished bench; go on with raybench bench and --resume")
    known = Results.opened(out, fits)
    return BenchResult(
        uri=out,
        results=known.frame(),
        daily=known.daily(),
        seconds=stored.ended.seconds,
        done_before=True,
        warnings=stored.ended.warnings,
    )


def kept(out: str) -> str:
    """Say what an interrupted bench left and how to go on."""
    out = files.open_location(out).uri
    stored = Bench.read(out)
    if stored is None:
        return f"nothing was written to {out}; begin again with the same command"
    ended = len(read_results(out)) if files.exists(files.join(out, TABLE)) else 0
    return (
        f"{ended} of {len(stored.asked.fits)} fits have ended and are kept in {out}, and what the others had reached; "
        "go on with the same command and --resume"
    )


def _done(out: str, asked: Asked, *, resume: bool) -> bool:
    """Whether ``out`` holds this bench, finished; RunError if another one, or one that nobody asked to go on with."""
    stored = Bench.read(out)
    if stored is None or (stored.ended is None and not _has_work(out)):
        return False
    asked.refuse_other(out, stored.asked)
    if stored.ended is not None:
        return not (resume and (stored.ended.failed or not Results.are_whole(out)))
    if not resume:
        raise RunError(f"{out} holds an unfinished bench of these configurations; add --resume or choose another --out")
    return False


def _has_work(out: str) -> bool:
    """Whether a fit has left something: one that came to nothing is no reason to refuse what was put right since."""
    if files.exists(files.join(out, TABLE)):
        return True
    left = (name.rpartition("/")[2] for name in files.sizes(files.join(out, RUNS)))
    return any(name != artifact.CONFIG for name in left)


class _Benching:
    """One command's part of a bench: what is left of it."""

    def __init__(self, out: str, fits: Sequence[Fit], asked: Asked, progress: Progress, say: Say) -> None:
        self._out, self._fits, self._asked = out, list(fits), asked
        self._progress, self._say = progress, say
        self._warnings: list[str] = []
        stored = Bench.read(out)
        self._seconds_before = 0.0 if stored is None or stored.ended is None else stored.ended.seconds
        self._began = datetime.now(UTC)

    def run(self) -> BenchResult:
        """Do what is left, and publish what came of all."""
        opened = opened_data(self._fits)
        self._leave_out(opened)
        results = Results.opened(self._out, self._fits, anew=True)
        left = [fit for fit in self._fits if not results.went_well(fit)]
        refuse_changed_data(self._out, results, self._fits, opened)
        for fit in left:
            claim(files.join(self._out, fit.folder), fit.config, resume=True)
        check_room(left, opened, self._progress)
        for line in _beforehand(self._fits):
            self._warn(line)
        Bench(asked=self._asked).write(self._out)
        try:
            if left:
                self._fit(opened, results, left)
        finally:  # an interrupt leaves a report of what is there
            self._report(results)
        if self._asked.rolling is not None:
            self._stitch(results, opened)
        seconds = self._seconds_before + (datetime.now(UTC) - self._began).total_seconds()
        ended = Ended(
            seconds=round(seconds, 3),
            finished=datetime.now(UTC).isoformat(timespec="seconds"),
            failed=sum(not results.went_well(fit) for fit in self._fits),
            warnings=tuple(self._warnings),
        )
        Bench(asked=self._asked, ended=ended).write(self._out)
        return BenchResult(
            uri=self._out,
            results=results.frame(),
            daily=results.daily(),
            seconds=ended.seconds,
            warnings=ended.warnings,
        )

    def _fit(self, opened: Mapping[str, FitData], results: Results, left: Sequence[Fit]) -> None:
        places = {"--out": self._out, **data_places(left[0].config)}
        with session(places=places, progress=self._progress):
            refuse_too_large(left, opened)
            there = capacity()
            groups = groups_of(left, opened, there)
            with self._progress.track("fits", len(self._fits), alike=True) as advance:
                advance(len(self._fits) - len(left))

                def hear(fit: Fit, outcome: Outcome) -> None:
                    results.put(fit, outcome.row, outcome.daily)
                    self._progress.note(f"{fit.title}: {told(outcome.row)}")
                    advance(1)

                BenchPool(
                    self._out,
                    room=Room(there),
                    durations=durations_of(self._fits, opened, results),
                    panels=panels_at_once(groups),
                    progress=self._progress,
                    hear=hear,
                    warn=self._warn,
                    stitched=self._asked.rolling is not None,
                ).run(groups)

    def _warn(self, line: str) -> None:
        if line in self._warnings:
            return  # panels of the same data have the same to say
        self._warnings.append(line)
        self._say(line)

    def _leave_out(self, opened: Mapping[str, FitData]) -> None:
        """Leave out the rolls whose test dates are still to come."""
        later = list(dict.fromkeys(fit.roll for fit in self._fits if fit.folder not in opened))
        if not opened:
            raise DataError(f"the data have no date of data.segments.test (from {later[0]}); change data.segments")
        self._fits = [fit for fit in self._fits if fit.folder in opened]
        if later:
            self._warn(
                f"the data have no test date of the roll{'s' * (len(later) > 1)} from {', '.join(map(str, later))}"
            )

    def _stitch(self, results: Results, opened: Mapping[str, FitData]) -> None:
        """Put the out-of-sample scores of each configuration's rolls together, and evaluate them as one."""
        for name in dict.fromkeys(fit.name for fit in self._fits):
            own = [fit for fit in self._fits if fit.name == name]
            well = [fit for fit in own if results.went_well(fit)]
            missing = sorted({str(fit.roll) for fit in own} - {str(fit.roll) for fit in well})
            if missing:
                self._warn(
                    f"{name}: no fit of the rolls from {', '.join(missing)} went well; {SCORES} lack their dates"
                )
            if not well:
                continue
            to, sources = files.join(self._out, SCORES, name), opened[well[0].folder].sources
            with self._progress.track(f"stitching {name}", None):
                origin = stitch(self._out, well, to)
            evaluate_scores(
                to,
                None if sources.bars is None else sources.bars.uri,
                features=None if sources.features is None else sources.features.uri,
                out=files.join(self._out, EVALUATION, name),
                origin=origin,
                title=f"{name}, {len(origin.runs)} rolls of {self._asked.rolling}",
                progress=self._progress,
            )

    def _report(self, results: Results) -> None:
        """Publish table and page of the fits that have ended."""
        from raybench.comparison.report import write_report  # it draws

        frame = results.frame()
        if not len(frame):
            return
        ended = [fit for fit in self._fits if results.went_well(fit)]
        histories: dict[str, list[pd.DataFrame]] = {}
        for fit in ended:
            place = files.join(self._out, fit.folder, artifact.HISTORY)
            histories.setdefault(fit.name, []).append(parquet.read_table(place).to_pandas())
        missing = len(self._fits) - len(frame)
        unfinished = [f"{missing} of {len(self._fits)} fits have not ended yet"] if missing else []
        write_report(
            self._out,
            frame,
            results.daily(),
            configs={fit.name: fit.config for fit in reversed(self._fits)},
            title="Configurations side by side",
            histories=histories,
            notes=[*unfinished, *self._warnings],
            inputs=self._inputs(),
        )

    def _inputs(self) -> dict[str, str]:
        """What the report was made from, for its foot."""
        step = self._asked.rolling
        places = dict.fromkeys(str(fit.config.data.bars or fit.config.data.features) for fit in self._fits)
        return {
            "Bench": self._out,
            "Data": ", ".join(places),
            "Fits": str(len(self._fits)),
            **({} if step is None else {"Rolling": f"{step}{', expanding' * self._asked.expanding}"}),
            "Made by": f"raybench {raybench.__version__}",
        }


def told(row: Mapping[str, Any]) -> str:
    """What a fit came to, in a few words."""
    if row["error"] is not None:
        return f"failed: {row['error']}"
    epochs = int(row["epochs"])
    trained = f"{epochs} epoch{'s' * (epochs != 1)} in {row['seconds']:.1f} s"
    return f"Rank IC {row['Rank IC']:.4f} on its test dates, {trained}"


def _beforehand(fits: Sequence[Fit]) -> Iterator[str]:
    """What is probably not meant."""
    configs = {fit.name: fit.config for fit in reversed(fits)}
    yield from differences(dict(reversed(configs.items())), tests=True)
    alone = seedless(fits)
    if alone and len({fit.seed for fit in fits}) > 1:
        yield f"{', '.join(alone)}: nothing in it is drawn at random, so it is fitted once and not with every seed"
    wide = list(dict.fromkeys(fit.name for fit in fits if (fit.config.cluster.num_workers or 1) > 1))
    if wide:
        yield f"{', '.join(wide)}: cluster.num_workers is not 1, and bench trains each fit in one process"
