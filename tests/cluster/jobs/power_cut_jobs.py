"""What publishes, as jobs that the power is cut under, on the small market or a part of it."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from raybench.cli.app import run as command
from raybench.cluster.jobs.adoption import adopt
from raybench.cluster.jobs.daily import daily
from raybench.cluster.jobs.explaining import explain
from raybench.cluster.jobs.features import write_features
from raybench.cluster.jobs.scoring import score
from raybench.cluster.jobs.training import train, train_seeds
from raybench.comparison.job import compare_runs
from raybench.config import Config
from raybench.config.daily import DailyConfig
from raybench.evaluation.job import evaluate_scores
from raybench.market.bars import BarBlock, open_bars
from raybench.market.importing.append import append_bars, compact_bars
from raybench.market.importing.job import import_bars
from raybench.market.sources import memory_source
from raybench.scoring import job as scoring_job
from raybench.scoring.members import read_members
from raybench.scoring.onnx import export_onnx
from raybench.scoring.table import read_scores
from raybench.storage.parquet import read_table
from tests.cluster.jobs.power_cut import (
    MEMORY,
    Job,
    bars_in,
    evaluation_in,
    explanation_in,
    features_in,
    run_in,
    scores_in,
    texts_in,
)

MakeConfig = Callable[..., Config]
MakeRun = Callable[[Config], str]
Work = Callable[[Path], object]


@pytest.fixture(scope="session")
def other_run(make_config: MakeConfig, make_run: MakeRun) -> str:
    """A run of another configuration than ``run`` is; read only."""
    return make_run(make_config(model__hidden_size=4))


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """Where many small files are written fast."""
    if MEMORY is None:
        yield tmp_path
    else:
        with tempfile.TemporaryDirectory(dir=MEMORY) as name:
            yield Path(name)


@pytest.fixture
def jobs(
    importing: Mapping[str, Job],
    learning: Mapping[str, Job],
    describing: Mapping[str, Job],
    judging: Mapping[str, Job],
) -> Mapping[str, Job]:
    """All that publish, by name."""
    return {**importing, **learning, **describing, **judging}


@pytest.fixture
def importing(market_bars: str, run: str, tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Job]:
    """What makes bars, or adds to them."""
    rows = open_bars(market_bars).block().to_frame()
    rows = rows[(rows["datetime"] >= "2015-03-01") & (rows["instrument"] < "SYN0008")]
    early, late = rows[rows["datetime"] < "2015-12-01"], rows[rows["datetime"] >= "2015-12-01"]
    other = rows.assign(close=rows["close"] * 2)
    delivered = tmp_path_factory.mktemp("delivered") / "bars.parquet"
    rows.dropna(subset=["close"]).to_parquet(delivered)
    open_bars(market_bars).listed("demo").to_frame().to_csv(delivered.with_name("demo.csv"), index=False)

    def put(frame: pd.DataFrame, **options: Any) -> Work:
        return lambda root: import_bars(memory_source(BarBlock.from_frame(frame)), str(root / "bars"), **options)

    def add(root: Path) -> object:
        return append_bars(memory_source(BarBlock.from_frame(late)), str(root / "bars"))

    def grown(root: Path) -> None:
        put(early)(root)
        add(root)

    def morning(root: Path) -> object:
        given = {"source": str(delivered), "universe": {"demo": str(delivered.with_name("demo.csv"))}}
        days = _last_days(market_bars)
        scoring = {"model": run, "to": str(root / "scores"), "start": days[0], "local": True, "min_coverage": 0.0}
        return daily(DailyConfig.model_validate({"import": given, "bars": str(root / "bars"), "score": scoring}))

    compact: Work = lambda root: compact_bars(str(root / "bars"))  # noqa: E731
    return {
        "import": Job(work=put(early), look=bars_in),
        "import --replace": Job(before=put(early), work=put(other, replace=True), look=bars_in),
        "import --append": Job(before=put(early), work=add, look=bars_in),
        "import --compact": Job(before=grown, work=compact, look=bars_in, alike=True),
        "daily": Job(work=morning, look=scores_in, partly=True, apart=False),
    }


@pytest.fixture
def learning(make_config: MakeConfig, market_bars: str, run: str) -> Mapping[str, Job]:
    """What makes features and runs."""
    config = make_config(train__max_epochs=2, train__batch_size=2_000, cluster__num_workers=1)
    days = _last_days(market_bars)
    seeds = [config.model_copy(update={"train": config.train.model_copy(update={"seed": k})}) for k in (0, 1)]

    def learn(root: Path, *, resume: bool = False) -> object:
        return train(config, out=str(root / "run"), local=True, resume=resume)

    def learned(root: Path) -> None:
        train_seeds(config, [0], out=str(root / "runs"), local=True)
        train(seeds[1], out=str(root / "runs" / "seed-1"), local=True)

    return {
        "features": Job(
            work=lambda root: write_features(
                market_bars, "alpha360", str(root / "features"), local=True, start=days[0]
            ),
            look=features_in,
        ),
        "train": Job(work=learn, again=lambda root: learn(root, resume=True), look=run_in, apart=False, some=4),
        "train --seeds": Job(
            before=learned,
            work=lambda root: train_seeds(config, [0, 1], out=str(root / "runs"), local=True),
            look=lambda root: read_table(str(root / "runs" / "seeds.parquet"), ["seed", "epochs"]).to_pylist(),
            apart=False,
        ),
        "adopt": Job(
            work=lambda root: adopt(config, weights=f"{run}/model.safetensors", out=str(root / "run"), local=True),
            look=run_in,
            apart=False,
        ),
    }


@pytest.fixture
def describing(market_bars: str, run: str, other_run: str) -> Mapping[str, Job]:
    """What writes what runs are, or may be."""

    def draft(root: Path, *more: str) -> object:
        words = ["--bars", market_bars, "--universe", "demo", "--to", str(root / "drafted" / "gru.yaml"), "-q"]
        assert command(["init", *words, *more]) == 0
        return None

    return {
        "export": Job(
            work=lambda root: export_onnx(run, to=str(root / "exported" / "gru.onnx")),
            look=lambda root: {path.name: path.stat().st_size for path in root.glob("exported/*")},
            apart=False,
            some=2,
        ),
        "init": Job(
            work=draft,
            look=lambda root: texts_in(root, "drafted"),
            again=lambda root: draft(root, "--overwrite"),  # the file says where it lies, and that is another place
            partly=True,
        ),
        "compare": Job(
            work=lambda root: compare_runs([run, other_run], out=str(root / "comparison")),
            look=lambda root: texts_in(root, "comparison"),
            partly=True,
            apart=False,
        ),
    }


@pytest.fixture
def judging(
    market_bars: str, run: str, other_run: str, whole: str, monkeypatch: pytest.MonkeyPatch
) -> Mapping[str, Job]:
    """What scores, and tells what scores are worth."""
    monkeypatch.setattr(scoring_job, "WRITERS", 1)  # one step after the other
    days = _last_days(market_bars)

    def scored(*runs: str) -> Work:
        return lambda root: score(list(runs), bars=market_bars, to=str(root / "scores"), start=days[0], local=True)

    def said_in(root: Path) -> dict[str, Any]:
        """Scores, and what each run of the ensemble said."""
        to, found = str(root / "scores"), scores_in(root)
        ids = [] if not found else list(read_scores(to)["run_id"].unique())
        said = {day: read_members(to, [day], ids) for day in found}
        return {day: (data, None if said[day] is None else said[day].to_csv()) for day, data in found.items()}

    def judged(**options: Any) -> Work:
        return lambda root: evaluate_scores(whole, market_bars, out=str(root / "evaluation"), **options)

    def explained(root: Path) -> object:
        out = str(root / "explanation")
        return explain(run, bars=market_bars, date=days[0], out=out, repeats=1, local=True)

    return {
        "score": Job(work=scored(run), look=scores_in, partly=True),
        "score of two runs": Job(work=scored(run, other_run), look=said_in, partly=True, apart=False),
        "evaluate": Job(before=judged(end=days[0]), work=judged(), look=evaluation_in, gone=True, apart=False),
        "explain": Job(work=explained, look=explanation_in, apart=False, some=4),
    }


def _last_days(bars: str) -> list[str]:
    return [str(day) for day in open_bars(bars).calendar[-3:].astype("datetime64[D]")]
