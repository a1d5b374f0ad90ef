"""Which runs an address stands for, and what they are called."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from raybench.comparison.gathering import gather, with_data
from raybench.comparison.results import failed_row, write_results
from raybench.errors import RunError


def put(run: str, *places: Path) -> None:
    for place in places:
        shutil.copytree(run, place)


def test_runs_are_called_after_their_folders(runs: tuple[str, ...], tmp_path: Path) -> None:
    put(runs[0], tmp_path / "monday" / "gru")
    put(runs[1], tmp_path / "tuesday" / "gru")
    put(runs[2], tmp_path / "lstm")
    found = gather([str(tmp_path / name) for name in ("monday/gru", "tuesday/gru", "lstm")])
    assert found.names == ["monday/gru", "tuesday/gru", "lstm"]
    assert [fit.run.run_id for fit in found.of("lstm")] == [found.fits[2].run.run_id]


def test_a_folder_of_seeds_is_one_configuration(runs: tuple[str, ...], tmp_path: Path) -> None:
    put(runs[0], tmp_path / "seeds" / "seed-0")
    put(runs[1], tmp_path / "seeds" / "seed-1")
    found = gather([str(tmp_path / "seeds")])
    assert found.names == ["seeds"]
    assert len(found.of("seeds")) == 2


def test_of_a_search_it_is_the_best(runs: tuple[str, ...], tmp_path: Path) -> None:
    put(runs[0], tmp_path / "search" / "best")
    found = gather([str(tmp_path / "search"), runs[1]])
    assert found.names[0] == "search"


def test_of_a_benchmark_it_is_all_with_what_failed(runs: tuple[str, ...], make_config, tmp_path: Path) -> None:
    bench = tmp_path / "bench"
    put(runs[0], bench / "runs" / "gru" / "seed-0")
    put(runs[1], bench / "runs" / "rolled" / "2015" / "seed-0")
    put(runs[2], bench / "runs" / "rolled" / "2016" / "seed-0")
    (bench / "runs" / "gru" / "seed-2").mkdir()
    broken = [failed_row(name, make_config(train__seed=1), "out of memory", folder="runs") for name in ("gru", "lost")]
    (bench / "runs" / "gru" / "seed-1").mkdir()
    (bench / "runs" / "lost" / "seed-1").mkdir(parents=True)
    write_results(str(bench), broken)
    found = gather([str(bench)])
    assert found.names == ["gru", "rolled"]
    assert [fit.roll for fit in found.fits] == [None, "2015", "2016"]
    assert [(row["name"], row["error"]) for row in found.failed] == [("gru", "out of memory")]
    lost, unfinished = found.warnings
    assert "runs/lost: all fits failed (out of memory)" in lost
    assert "1 fits are not finished" in unfinished


def test_what_cannot_be_compared(runs: tuple[str, ...], tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"^1 finished run to compare \(.*\); want two or more runs"):
        gather([runs[0]])
    with pytest.raises(RunError, match=r"is given twice \([0-9a-f]{16}\); give each run once"):
        gather([runs[0], runs[1], runs[0]])
    put(runs[0], tmp_path / "copy")
    with pytest.raises(RunError, match="copy are one run"):
        gather([runs[0], str(tmp_path / "copy")])
    (tmp_path / "begun").mkdir()
    with pytest.raises(RunError, match="begun is not a finished run"):
        gather([runs[0], str(tmp_path / "begun")])
    with pytest.raises(RunError, match="nowhere is not a finished run"):
        gather([runs[0], str(tmp_path / "nowhere")])


def test_data_that_lie_elsewhere(runs: tuple[str, ...], tmp_path: Path) -> None:
    fit = gather(runs[:2]).fits[0]
    assert with_data(fit, None, None) is fit
    assert with_data(fit, str(tmp_path / "bars"), None).run.config.data.bars == str(tmp_path / "bars")
