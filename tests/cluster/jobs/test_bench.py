"""A bench: independent fits over shared panels, their table, and nothing lost when a process is killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
import torch
import yaml

from raybench.cluster.jobs import bench_data, training
from raybench.cluster.jobs.benching import BenchResult, bench, kept
from raybench.comparison.asked import Bench
from raybench.comparison.results import read_daily, read_results
from raybench.config import Config, dump_config
from raybench.errors import ConfigError, DataError, ResourceError, RunError
from raybench.runs.artifact import load_run
from raybench.training import checkpoints
from tests.cluster.processes import marked, ours
from tests.notes import Notes

MakeConfig = Callable[..., Config]
pytestmark = [pytest.mark.ray, pytest.mark.slow]
MEASURED = ["seconds", "samples_per_second", "peak_memory_mib", "run_id"]
ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def configs(make_config: MakeConfig) -> dict[str, Config]:
    """Two networks over one panel, of which one diverges, and one that takes single rows."""
    one = {"cluster__num_workers": 1, "train__max_epochs": 3}
    return {
        "gru": make_config(**one),
        "bad": make_config(**one, train__lr=1e30, train__grad_clip_norm="null"),
        "line": make_config(**one, model="{type: linear}", data__step_len=1),
    }


@pytest.fixture(scope="module")
def said() -> Notes:
    return Notes()


@pytest.fixture(scope="module")
def done(
    configs: dict[str, Config], said: Notes, tmp_path_factory: pytest.TempPathFactory, local_ray: None
) -> BenchResult:
    """All of them with two seeds; read only."""
    return bench(configs, seeds=2, out=str(tmp_path_factory.mktemp("bench") / "b"), progress=said)


def test_a_row_for_every_fit_and_one_that_fails_sinks_no_other(done: BenchResult, said: Notes) -> None:
    found = read_results(done.uri)
    pd.testing.assert_frame_equal(found, done.results)
    assert [*zip(found["name"], found["seed"], strict=True)] == [
        ("gru", 0),
        ("gru", 1),
        ("bad", 0),
        ("bad", 1),
        ("line", 0),
    ]
    bad = found["name"] == "bad"
    assert found.loc[bad, "error"].str.contains("loss").all()
    assert found.loc[bad, "Rank IC"].isna().all()
    well = found[~bad]
    assert well["error"].isna().all()
    assert well[["IC", "Rank IC", "samples_per_second", "peak_memory_mib"]].gt(-1).all().all()
    assert well["peak_memory_mib"].between(50, 4000).all()
    assert list(well["epochs"]) == [3, 3, 1]
    assert found["run"].tolist()[:2] == ["runs/gru/seed-0", "runs/gru/seed-1"]
    assert sum(line.startswith("gru, seed 0: ") for line in said.lines) == 2  # begins, and what it came to
    assert any(line.startswith("bad, seed 1: failed: ") for line in said.lines)
    assert any("line: nothing in it is drawn at random" in line for line in done.warnings)
    assert sum(line == "fitting processors" for line in said.lines) == 2, "one for each of two panels"


def test_days_are_those_of_all_fits(done: BenchResult) -> None:
    days = read_daily(done.uri)
    assert set(days["name"]) == {"gru", "line"}
    means = days.groupby(["name", "seed"])["rank_ic"].mean()
    for _, row in done.results.dropna(subset=["Rank IC"]).iterrows():
        assert means[row["name"], row["seed"]] == pytest.approx(row["Rank IC"], abs=1e-12)


def test_a_fit_is_the_training_and_the_evaluation_of_the_commands(
    done: BenchResult, configs: dict[str, Config], tmp_path: Path
) -> None:
    from raybench.cluster.jobs.scoring import score
    from raybench.evaluation.job import evaluate_scores

    there = load_run(f"{done.uri}/runs/gru/seed-0")
    alone = training.train(configs["gru"], out=str(tmp_path / "run"), local=True)
    assert all(torch.equal(value, alone.weights[name]) for name, value in there.weights.items())
    bars, to = str(configs["gru"].data.bars), str(tmp_path / "scores")
    first, last = map(str, configs["gru"].data.segments.test)
    score(there.uri, bars=bars, to=to, start=first, end=last, local=True)
    metrics = evaluate_scores(to, bars, model=there.uri, out=str(tmp_path / "e")).metrics
    row = done.results.iloc[0]
    assert [row[key] for key in ("IC", "ICIR", "Rank IC", "Rank ICIR")] == [
        metrics[key] for key in ("IC", "ICIR", "Rank IC", "Rank ICIR")
    ]


def test_a_finished_bench_stays_as_it_is(done: BenchResult, configs: dict[str, Config]) -> None:
    again = bench(configs, seeds=2, out=done.uri)
    assert again.done_before
    pd.testing.assert_frame_equal(again.results, done.results)
    with pytest.raises(RunError, match="holds a bench of other configurations or seeds"):
        bench(configs, seeds=3, out=done.uri)
    changed = configs["gru"].model_copy(update={"train": configs["gru"].train.model_copy(update={"lr": 0.5})})
    with pytest.raises(
        RunError, match=r"another configuration \(runs/gru/seed-0: train\.lr is 0\.003 there, 0\.5 here"
    ):
        bench({**configs, "gru": changed}, seeds=2, out=done.uri, resume=True)
    with pytest.raises(RunError, match="holds a bench with no --rolling, and asked is one with --rolling 2m"):
        bench({"gru": configs["gru"]}, seeds=2, out=done.uri, rolling="2m")


def test_a_damaged_table_is_made_again_from_the_runs(
    configs: dict[str, Config], tmp_path: Path, local_ray: None
) -> None:
    line = {"line": configs["line"]}
    done = bench(line, out=str(tmp_path / "b"))
    file = tmp_path / "b" / "results.parquet"
    file.write_bytes(file.read_bytes()[:-9])
    with pytest.raises(RunError, match=r"results\.parquet: .*; the same command with --resume judges its runs again"):
        bench(line, out=done.uri)
    again = bench(line, out=done.uri, resume=True)
    assert again.results["run_id"].equals(done.results["run_id"])
    assert again.results["Rank IC"].equals(done.results["Rank IC"])
    assert len(bench(line, out=done.uri).results) == 1


def test_a_process_that_is_killed_goes_on_from_its_checkpoint(
    make_config: MakeConfig, tmp_path: Path, local_ray: None
) -> None:
    """Its history and its results are those of a fit that nobody killed."""
    config = make_config(cluster__num_workers=1, train__max_epochs=8, train__batch_size=20, model__dropout=0.3)
    out, killed = tmp_path / "b", list[int]()

    def kill() -> None:
        while not checkpoints.finished_epochs(str(out / "runs/gru/seed-0")) >= 2:
            time.sleep(0.01)
        killed.extend(ours("ray::fit_and_judge"))
        for pid in killed:
            os.kill(pid, signal.SIGKILL)

    killer = threading.Thread(target=kill, daemon=True)
    killer.start()
    found = bench({"gru": config}, out=str(out))
    killer.join()
    assert killed
    assert found.failed == 0
    here = training.train(config, out=str(tmp_path / "run"), local=True)
    there = load_run(found.results["run"].map(lambda folder: str(out / folder))[0])
    times = ["seconds", "samples_per_second"]
    pd.testing.assert_frame_equal(there.history.drop(columns=times), here.history.drop(columns=times))
    assert all(torch.equal(value, here.weights[name]) for name, value in there.weights.items())


def test_a_process_that_is_always_killed_is_a_row(make_config: MakeConfig, tmp_path: Path, local_ray: None) -> None:
    over = threading.Event()

    def kill() -> None:
        while not over.wait(0.05):
            for pid in ours("ray::fit_and_judge"):
                os.kill(pid, signal.SIGKILL)

    killer = threading.Thread(target=kill, daemon=True)
    killer.start()
    found = bench({"gru": make_config(cluster__num_workers=1, cluster__max_failures=1)}, out=str(tmp_path / "b"))
    over.set()
    killer.join()
    assert found.results["error"].tolist() == ["its process was killed; it was tried 2 times, see cluster.max_failures"]
    again = bench(
        {"gru": make_config(cluster__num_workers=1, cluster__max_failures=1)}, out=str(tmp_path / "b"), resume=True
    )
    assert again.failed == 0
    assert not again.done_before


def typed(folder: Path, *words: str, mark: str = "") -> subprocess.Popen[str]:
    """The command as a person types it in ``folder``."""
    return subprocess.Popen(
        [sys.executable, "-m", "raybench", "bench", *words],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), "RAY_ADDRESS": "local", "RAYBENCH_MARK": mark},
        text=True,
        start_new_session=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def first_result(process: subprocess.Popen[str], out: Path) -> None:
    """Wait until a fit has ended."""
    until = time.monotonic() + 300
    while not (out / "results.parquet").exists():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < until
        time.sleep(0.05)


def test_ctrl_c_leaves_a_report_of_what_is_there(make_config: MakeConfig, tmp_path: Path) -> None:
    long = {"train__max_epochs": 2000, "train__early_stop__patience": 2000}
    configs = {
        "gru": make_config(cluster__num_workers=1, **long),
        "line": make_config(cluster__num_workers=1, model="{type: linear}", data__step_len=1),
    }
    for name, config in configs.items():
        (tmp_path / f"{name}.yaml").write_text(dump_config(config))
    mark = uuid.uuid4().hex
    process = typed(tmp_path, "gru.yaml", "line.yaml", "--out", "b", mark=mark)
    first_result(process, tmp_path / "b")
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 130, err
    assert "interrupted: 1 of 2 fits have ended and are kept in" in err
    assert "go on with the same command and --resume" in err.splitlines()[-1]
    assert "Traceback" not in err
    assert "1 of 2 fits have not ended yet" in (tmp_path / "b/report.html").read_text()
    assert "line" in (tmp_path / "b/table.md").read_text()
    until = time.monotonic() + 20
    while (left := marked(f"RAYBENCH_MARK={mark}")) and time.monotonic() < until:
        time.sleep(0.2)
    assert not left


def test_typed_and_killed_and_gone_on_with(
    done: BenchResult, configs: dict[str, Config], tmp_path: Path, market_bars: str
) -> None:
    """From another folder, with relative paths: the driver dies with SIGKILL, the results are the unbroken ones."""
    (tmp_path / "own").mkdir()
    (tmp_path / "bars").symlink_to(market_bars)
    for name, config in configs.items():
        said = yaml.safe_load(dump_config(config))
        said["data"]["bars"] = "bars"
        (tmp_path / "own" / f"{name}.yaml").write_text(yaml.safe_dump(said))
    line = [*(f"own/{name}.yaml" for name in configs), "--seeds", "2", "--out", "out/b"]
    first = typed(tmp_path, *line)
    first_result(first, tmp_path / "out/b")
    first.send_signal(signal.SIGKILL)
    first.wait()
    stored = Bench.read(str(tmp_path / "out/b"))
    assert stored is not None
    assert stored.ended is None
    assert "of 5 fits have ended and are kept in" in kept(str(tmp_path / "out/b"))
    with pytest.raises(RunError, match="holds an unfinished bench of these configurations; add --resume"):
        bench(configs, seeds=2, out=str(tmp_path / "out/b"))
    second = typed(tmp_path, *line, "--resume", "--json")
    out, err = second.communicate(timeout=400)
    assert second.returncode == 0, err
    assert '"failed": 2' in out.splitlines()[-1]
    pd.testing.assert_frame_equal(
        read_results(str(tmp_path / "out/b")).drop(columns=MEASURED), done.results.drop(columns=MEASURED)
    )
    pd.testing.assert_frame_equal(read_daily(str(tmp_path / "out/b")), read_daily(done.uri))


def test_what_cannot_be_done_is_told_before_any_fit(
    make_config: MakeConfig, tmp_path: Path, market_bars: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = str(tmp_path / "b")
    one = {"cluster__num_workers": 1}
    monkeypatch.setenv("RAY_ADDRESS", "local")
    monkeypatch.setattr(bench_data.ray, "is_initialized", lambda: False)
    with pytest.raises(ResourceError, match=r"cluster\.cpus_per_worker is 512 but the largest node has"):
        bench({"a": make_config(**one, cluster__cpus_per_worker=512)}, out=out)
    with pytest.raises(ConfigError, match=r"data\.residency is streaming, and fits of a bench share rows in memory"):
        bench({"a": make_config(**one, data__residency="streaming")}, out=out)
    with pytest.raises(DataError, match=r"--out is .*bars, which holds a bars dataset"):
        bench({"a": make_config(**one)}, out=market_bars)
    segments = yaml.safe_load(dump_config(make_config()))["data"]["segments"] | {"test": ["2031-01-01", "2031-02-01"]}
    with pytest.raises(DataError, match=r"data\.segments\.test \(2031-01-01 to 2031-02-01\) has no date of the data"):
        bench({"a": make_config(**one, data__segments=yaml.safe_dump(segments, default_flow_style=True))}, out=out)
    assert not os.path.exists(out)
