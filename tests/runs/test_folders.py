"""Which runs an address stands for."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest

from raybench.errors import RunError
from raybench.runs.folders import failed_fits, finished_seeds, run_folders
from raybench.storage import files


def begun(folder: Path, *, finished: bool = True) -> str:
    folder.mkdir(parents=True)
    (folder / "config.yaml").touch()
    if finished:
        (folder / "manifest.json").touch()
    return str(folder)


def test_seeds_come_in_ascending_order(tmp_path: Path) -> None:
    seeds = [begun(tmp_path / "gru" / f"seed-{seed}") for seed in (0, 2, 10)]
    (tmp_path / "gru" / "seeds.parquet").touch()
    assert run_folders(tmp_path / "gru") == tuple(seeds)


def test_a_run_is_itself_and_so_is_what_is_none(tmp_path: Path) -> None:
    run = begun(tmp_path / "run")
    assert run_folders(run + "/") == (run,)
    assert run_folders(tmp_path / "nowhere") == (str(tmp_path / "nowhere"),)


def test_a_seed_that_is_not_finished_is_named(tmp_path: Path) -> None:
    begun(tmp_path / "seed-0")
    begun(tmp_path / "seed-1", finished=False)
    with pytest.raises(RunError, match=r"seed-1 of 2 runs is not finished"):
        run_folders(tmp_path)


def test_a_seed_that_was_removed_is_missed(tmp_path: Path) -> None:
    """Those that are left would be another ensemble than the one that was trained and judged."""
    seeds = [begun(tmp_path / f"seed-{seed}") for seed in (0, 1)]
    table = pd.DataFrame({"run": ["seed-0", "seed-1"], "seed": [0, 1]})
    table.to_parquet(tmp_path / "seeds.parquet")
    assert run_folders(tmp_path) == tuple(seeds)
    (tmp_path / "seed-0").rename(tmp_path / "best")
    with pytest.raises(RunError, match=r"seed-0 of 2 runs is not finished .* name the runs one by one"):
        run_folders(tmp_path)


def test_finished_seeds_are_told_from_others(tmp_path: Path) -> None:
    done = begun(tmp_path / "seed-3")
    begun(tmp_path / "seed-1", finished=False)
    assert finished_seeds(tmp_path) == (done,)


def bench(folder: Path, *, error: str | None = None, rolls: bool = False) -> list[str]:
    """Two configurations of two seeds; ``error``: of the last fit, which came to no run."""
    folder.mkdir()
    place = folder / "runs"
    made = []
    for name in ("gru", "lstm"):
        at = place / name / "2020-01-01" if rolls else place / name
        made += [begun(at / f"seed-{seed}", finished=error is None or (name, seed) != ("lstm", 1)) for seed in (0, 1)]
    told = [made[k].removeprefix(f"{folder}/") for k in range(4)]
    (folder / "bench.json").write_text(json.dumps({"asked": {"fits": told}}))
    table = pa.table({"run": told, "error": pa.array([None] * 3 + [error], pa.string())})
    files.publish_table(str(folder / "results.parquet"), table, metadata={})
    return made


def test_a_bench_stands_for_all_of_its_runs(tmp_path: Path) -> None:
    made = bench(tmp_path / "b")
    assert run_folders(tmp_path / "b") == tuple(made)
    assert run_folders(tmp_path / "b" / "runs" / "lstm") == tuple(made[2:])
    assert failed_fits(tmp_path / "b") == ()


def test_a_fit_that_failed_is_passed_over_and_known(tmp_path: Path) -> None:
    made = bench(tmp_path / "b", error="the loss is NaN")
    assert run_folders(tmp_path / "b") == tuple(made[:3])
    assert run_folders(tmp_path / "b" / "runs" / "lstm") == (made[2],)
    assert failed_fits(tmp_path / "b") == failed_fits(tmp_path / "b" / "runs" / "lstm") == (made[3],)
    assert failed_fits(tmp_path / "b" / "runs" / "gru") == ()


def test_a_fit_that_is_still_to_come_is_no_failure(tmp_path: Path) -> None:
    bench(tmp_path / "b")
    Path(tmp_path / "b/runs/gru/seed-1/manifest.json").unlink()
    with pytest.raises(RunError, match=r"runs/gru/seed-1 of 4 runs is not finished"):
        run_folders(tmp_path / "b")


def test_a_fit_that_was_not_begun_is_no_failure_either(tmp_path: Path) -> None:
    bench(tmp_path / "b")
    shutil.rmtree(tmp_path / "b/runs/lstm")
    with pytest.raises(RunError, match=r"runs/lstm/seed-0, runs/lstm/seed-1 of 4 runs is not finished"):
        run_folders(tmp_path / "b")


def test_a_damaged_bench_is_told(tmp_path: Path) -> None:
    bench(tmp_path / "b")
    (tmp_path / "b/bench.json").write_text("{")
    with pytest.raises(RunError, match=r"bench\.json: is damaged"):
        run_folders(tmp_path / "b")


def test_rolls_are_no_ensemble(tmp_path: Path) -> None:
    made = bench(tmp_path / "b", rolls=True)
    for place in (tmp_path / "b", tmp_path / "b" / "runs" / "gru"):
        with pytest.raises(RunError, match=r"holds 1 rolls, which are no ensemble.*runs/gru/2020-01-01"):
            run_folders(place)
    assert run_folders(tmp_path / "b" / "runs" / "gru" / "2020-01-01") == tuple(made[:2])
