"""Which runs an address stands for."""

from __future__ import annotations

from pathlib import Path

import pytest

from raybench.errors import RunError
from raybench.train.folders import finished_seeds, run_folders


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


def test_finished_seeds_are_told_from_others(tmp_path: Path) -> None:
    done = begun(tmp_path / "seed-3")
    begun(tmp_path / "seed-1", finished=False)
    assert finished_seeds(tmp_path) == (done,)
