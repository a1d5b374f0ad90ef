"""The power fails at any step of a search or a bench, whose fits run here one after the other, without Ray.

What Ray does, to choose where a fit runs and to hear from it, is replaced; what is published, and by whom, is not.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from raybench.cluster.jobs import bench_fit, benching, tuning, tuning_report
from raybench.cluster.jobs.bench_fit import FitTask, fit_and_judge
from raybench.cluster.jobs.bench_pool import Group
from raybench.cluster.preparation import TrainingData
from raybench.cluster.resources import Workers, this_machine
from raybench.cluster.trial import SearchTask
from raybench.cluster.trials import Plan
from raybench.comparison.asked import Bench
from raybench.comparison.on_test import open_unseen
from raybench.comparison.results import TABLE, read_results
from raybench.config import Config
from raybench.config.panel_spec import PanelSpec
from raybench.market.bars import open_bars
from raybench.panel import Panel
from raybench.panel.build import build_panel
from raybench.progress import Progress
from raybench.runs import artifact
from raybench.scoring import job as scoring_job
from raybench.scoring.inputs import ScoringSource
from raybench.search import folder as search_folder
from raybench.search.draws import trial_config
from raybench.search.ledger import DONE, Ledger, TrialRecord, trial_folder
from raybench.storage import files
from raybench.training import checkpoints
from raybench.training.alone import fit_alone
from raybench.training.checkpoints import Identity
from raybench.training.sources import DataFacts, Sources
from tests.cluster.jobs.power_cut import Job, run_in, texts_in

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="/proc tells which file a handle is of"),
]
MakeConfig = Callable[..., Config]


class Here:
    """Rows of a panel that lie in this process."""

    def __init__(self, panel: Panel) -> None:
        self._panel = panel

    def panel(self) -> Panel:
        return self._panel


def _prepared(sources: Sources, *_: object) -> Any:
    panel = build_panel(sources.spec, sources.bars, sources.features)
    rows: Any = Here(panel)
    return TrainingData(rows=rows, datasets={}, facts=DataFacts.of(panel, sources))


def _session(**_: object) -> AbstractContextManager[None]:
    return nullcontext()


def _run_trials(plan: Plan, task: SearchTask, ledger: Ledger, progress: Progress) -> None:
    """Run the trials that have not ended as ``cluster.trial`` does, and tell the ledger as ``cluster.watch`` does."""
    assert plan.drawn is not None
    for draw in (draw for draw in plan.drawn if draw.number not in task.ended):
        out, config = trial_folder(task.out, draw.number), trial_config(task.config, draw.values)
        data = task.panels[PanelSpec.of(config).key]
        identity = Identity.of(config, data.facts.fingerprint, workers=1, rows="resident")
        ledger.put(TrialRecord(number=draw.number, values=draw.values, tries=1))
        ledger.publish()
        begun = checkpoints.newest(out, identity)
        artifact.begin_run(out, config)
        state = fit_alone(
            config,
            data.rows.panel(),  # type: ignore[union-attr]  # they are resident
            out,
            threads=1,
            device=torch.device("cpu"),
            identity=identity,
            begun=begun,
            hear=lambda kind, value: None,
        )
        metric = state.best_record().valid_loss
        ledger.change(draw.number, status=DONE, epochs=state.epoch, best_epoch=state.best_epoch, metric=metric)
        ledger.publish()


class Pool:
    """A pool of this process."""

    def __init__(self, out: str, *, hear: Callable[..., None], progress: Progress, **_: object) -> None:
        self._out, self._hear, self._progress = out, hear, progress

    def run(self, groups: Sequence[Group]) -> None:
        for group in groups:
            data = _prepared(group.sources)
            for fit in group.fits:
                panel, unseen = open_unseen(
                    fit.config,
                    ScoringSource(bars=group.sources.bars, features=group.sources.features),
                    processors=data.facts.processors,
                    needs=data.facts.needs,
                )
                rows: Any = Here(panel)
                judged: Any = unseen
                task = FitTask(
                    fit=fit,
                    out=files.join(self._out, fit.folder),
                    workers=Workers(number=1, cpus=1, gpu=False),
                    rows=data.rows,
                    facts=data.facts,
                    test=rows,
                    unseen=judged,
                )
                self._hear(fit, fit_and_judge(task))


class Silent:
    """Gauges that nobody reads."""

    def __init__(self, out: str) -> None:
        pass

    def watching(self, make: Any) -> Any:
        return make

    def show(self, record: object) -> None:
        pass


@pytest.fixture
def without_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything in this process, one step after the other."""
    monkeypatch.setattr(scoring_job, "WRITERS", 1)
    for module in (tuning, benching):
        monkeypatch.setattr(module, "session", _session)
        monkeypatch.setattr(module, "capacity", lambda: this_machine(gpus=0))
    monkeypatch.setattr(tuning, "_prepared", _prepared)
    monkeypatch.setattr(tuning, "run_trials", _run_trials)
    monkeypatch.setattr(tuning_report, "score", partial(tuning_report.score, local=True))
    monkeypatch.setattr(benching, "BenchPool", Pool)
    for name in ("refuse_too_large", "check_room"):
        monkeypatch.setattr(benching, name, lambda *given: None)
    monkeypatch.setattr(benching, "panels_at_once", lambda groups: 1)
    monkeypatch.setattr(bench_fit, "ray", SimpleNamespace(get=lambda value: value))
    monkeypatch.setattr(bench_fit, "TrainingGauges", Silent)


def search_in(root: Path) -> Mapping[str, Any]:
    """The best run, where it is one, and what a finished search came to."""
    out = str(root / "search")
    found = {"best": best} if (best := run_in(root, "search/best")) is not None else {}
    if not search_folder.is_finished(out):
        return found
    done = search_folder.load_search(out)
    trials = done.trials.drop(columns=["seconds", "tries"]).to_csv()
    assert texts_in(root, "search")["report.html"] == "whole"
    evaluated = (root / "search" / "evaluation" / "metrics.json").read_text()
    return {**found, "result": (trials, done.best_trial.number, dict(done.test), evaluated)}


def bench_in(root: Path) -> Mapping[str, Any]:
    """The row of each fit that ended, its run, and whether all is there."""
    out = str(root / "bench")
    rows = read_results(out) if (root / "bench" / TABLE).exists() else None
    named = [] if rows is None else rows.to_dict(orient="records")
    found = {str(row["run"]): (row["Rank IC"], row["error"], run_in(root, f"bench/{row['run']}")) for row in named}
    stored = Bench.read(out)
    if stored is None or stored.ended is None:
        return found
    assert texts_in(root, "bench")["report.html"] == "whole"
    return {**found, "ended": (len(found), stored.ended.failed)}


@pytest.mark.usefixtures("without_ray")
def test_a_search_that_loses_its_power_is_whole_and_goes_on(
    make_config: MakeConfig, market_bars: str, folder: Path
) -> None:
    days = [str(day) for day in open_bars(market_bars).calendar[-8:].astype("datetime64[D]")]
    config = make_config(
        data__segments__test=f"[{days[0]}, {days[-1]}]",
        cluster__num_workers=1,
        train__max_epochs=1,
        train__batch_size=2_000,
        tune__num_samples=2,
        tune__metric="loss",
        tune__mode="min",
        tune__scheduler="{type: fifo}",
        tune__space="{train.lr: {loguniform: [1e-3, 1e-2]}}",
    )

    def work(root: Path, *, resume: bool = False) -> object:
        return tuning.search(config, out=str(root / "search"), resume=resume)

    job = Job(work=work, again=lambda root: work(root, resume=True), look=search_in, partly=True, apart=False, some=4)
    assert job.check(folder) > 100


@pytest.mark.usefixtures("without_ray")
def test_a_bench_that_loses_its_power_is_whole_and_goes_on(make_config: MakeConfig, folder: Path) -> None:
    configs = {
        name: make_config(cluster__num_workers=1, train__max_epochs=1, train__batch_size=2_000, model__hidden_size=size)
        for name, size in (("small", 4), ("large", 8))
    }

    def work(root: Path, *, resume: bool = False) -> object:
        return benching.bench(configs, out=str(root / "bench"), resume=resume)

    job = Job(work=work, again=lambda root: work(root, resume=True), look=bench_in, partly=True, apart=False, some=3)
    assert job.check(folder) > 50
