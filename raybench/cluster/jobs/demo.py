"""The whole way once, on a synthetic market whose attainable Rank IC is known."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from raybench.cluster.jobs.features import write_features as build_features
from raybench.cluster.jobs.scoring import score
from raybench.cluster.jobs.training import train
from raybench.cluster.session import session
from raybench.config import Config, load_config
from raybench.config.data.alpha_names import BENCHMARK_20
from raybench.evaluation.job import EvaluationResult, evaluate_scores
from raybench.market.importing.job import import_bars
from raybench.market.sources import open_source
from raybench.market.synthetic import UNIVERSE, Market, make_market
from raybench.market.universe import universe_of_frame
from raybench.progress import SILENT, Progress
from raybench.storage import files
from raybench.storage.claims import held
from raybench.storage.places import Kind, refuse_others

WORKERS = 2
INSTRUMENTS, YEARS = 240, 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Demo:
    """What the demo found: the test segment's metrics beside what its market allows."""

    evaluated: EvaluationResult
    attainable_rank_ic: float
    valid_rank_ic: float | None
    epochs: int


def run_demo(out: str, *, instruments: int = INSTRUMENTS, years: float = YEARS, progress: Progress = SILENT) -> Demo:
    """Market -> bars -> features -> DDP GRU -> scores -> evaluation, all below ``out``."""
    place = {name: files.join(out, name) for name in ("market", "bars", "features", "run", "scores", "evaluation")}
    refuse_others(out, Kind.DEMO, option="--out")
    with held(out, what="demo"):
        market = make_market(instruments=instruments, years=years)
        _publish_market(market, place)
        config = demo_config(market, bars=place["bars"], features=place["features"])
        with session(places={"--out": out}, progress=progress):
            build_features(place["bars"], "alpha158", place["features"], progress=progress)
            run = train(config, out=place["run"], resume=True, progress=progress)
            score([place["run"]], features=place["features"], bars=place["bars"], to=place["scores"], progress=progress)
        first, last = config.data.segments.test
        attainable = market.attainable(str(first), str(last))
        evaluated = evaluate_scores(
            place["scores"],
            place["bars"],
            out=place["evaluation"],
            model=place["run"],
            title="GRU on a synthetic market",
            attainable_rank_ic=attainable,
            progress=progress,
        )
    return Demo(
        evaluated=evaluated,
        attainable_rank_ic=attainable,
        valid_rank_ic=run.metrics["valid_rank_ic"],
        epochs=len(run.history),
    )


def _publish_market(market: Market, place: Mapping[str, str]) -> None:
    """Store the market as a user would bring it, one Parquet table, and import that."""
    table = files.join(place["market"], "market.parquet")
    files.publish_table(table, pa.Table.from_pandas(market.bars, preserve_index=False))
    universe = universe_of_frame(UNIVERSE, market.spans)
    import_bars(open_source(table, "parquet"), place["bars"], universes={UNIVERSE: universe})


def demo_config(market: Market, *, bars: str, features: str) -> Config:
    """Train on the first 60% of the dates, validate on 20%, test on the rest; the 20 features, a small GRU."""
    dates = [str(date.date()) for date in market.calendar]
    cuts = [0, int(len(dates) * 0.6), int(len(dates) * 0.8), len(dates)]
    segments: dict[str, Any] = {
        name: [dates[cuts[i]], dates[cuts[i + 1] - 1]] for i, name in enumerate(("train", "valid", "test"))
    }
    return load_config(
        {
            "data": {
                "bars": bars,
                "features": features,
                "universe": UNIVERSE,
                "feature_set": {"type": "alpha158", "columns": list(BENCHMARK_20)},
                "segments": segments,
                "embargo": 2,
            },
            "model": {"type": "gru", "hidden_size": 32, "num_layers": 1},
            "train": {
                "max_epochs": 6,
                "batch_size": 800,
                "lr": 3e-3,
                "early_stop": {"metric": "rank_ic", "patience": 3},
            },
            "cluster": {"num_workers": WORKERS, "cpus_per_worker": 1},
        }
    )
