"""Runs compared: figures, common dates, what differs, what is warned of."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import raybench
from raybench.comparison.job import Comparison, compare_runs
from raybench.comparison.on_test import on_test
from raybench.errors import DataError
from raybench.metrics import signal
from raybench.runs.artifact import load_run
from raybench.scoring.inputs import ScoringSource
from raybench.storage.claims import held


@pytest.fixture(scope="session")
def compared(runs: tuple[str, ...], tmp_path_factory: pytest.TempPathFactory) -> Comparison:
    return compare_runs(runs, out=str(tmp_path_factory.mktemp("compared") / "out"))


def test_figures_of_runs_on_one_segment_are_those_of_on_test(runs: tuple[str, ...], bars: str) -> None:
    found = compare_runs(runs[:2])
    for place, uri in enumerate(runs[:2]):
        alone = on_test(load_run(uri), ScoringSource.open(bars, None)).evaluation
        row = found.results.iloc[place]
        assert [row[name] for name in ("IC", "ICIR", "Rank IC", "Rank ICIR")] == [
            alone.metrics[name] for name in ("IC", "ICIR", "Rank IC", "Rank ICIR")
        ]
    assert found.common_dates == len(alone.unseen)
    assert found.report is None
    assert found.differing == {}
    assert found.warnings == ()


def test_one_process_at_a_time_writes_a_folder(runs: tuple[str, ...], tmp_path: Path) -> None:
    with held(tmp_path / "c", what="compare"), pytest.raises(DataError, match="is being written by `raybench compare`"):
        compare_runs(runs, out=str(tmp_path / "c"))
    assert not list(tmp_path.iterdir())


def test_figures_are_of_the_dates_that_all_have(compared: Comparison, runs: tuple[str, ...], bars: str) -> None:
    """Two were tested from August to November, one from September to December."""
    dates = compared.daily["datetime"]
    assert (dates.min(), dates.max()) == (pd.Timestamp("2015-09-01"), pd.Timestamp("2015-11-30"))
    assert compared.common_dates == dates.nunique() > 50
    for place, uri in enumerate(runs):
        daily = on_test(load_run(uri), ScoringSource.open(bars, None)).evaluation.unseen
        kept = daily[daily["datetime"].between("2015-09-01", "2015-11-30")]
        assert len(kept) < len(daily)
        row = compared.results.iloc[place]
        assert row["Rank IC"] == pytest.approx(kept["rank_ic"].mean(), rel=1e-12)
        assert row["Rank ICIR"] == pytest.approx(signal.ratio(kept["rank_ic"].to_numpy()), rel=1e-12)
        assert row["ICIR"] == pytest.approx(signal.ratio(kept["ic"].to_numpy()), rel=1e-12)


def test_only_keys_that_differ(compared: Comparison) -> None:
    assert compared.differing["model.hidden_size"] == {"a": 8, "b": 8, "c": 12}
    assert set(compared.differing) == {"model.hidden_size", "data.segments.test"}


def test_pairs_are_tested_on_the_common_dates(compared: Comparison) -> None:
    assert len(compared.tests) == 2
    assert {test.dates for test in compared.tests} == {compared.common_dates}
    by_name = compared.results.set_index("name")["Rank IC"]
    for test in compared.tests:
        assert test.against == by_name.idxmax()
        assert test.difference == pytest.approx(by_name[test.name] - by_name[test.against])
        assert test.block >= 2.0  # the label looks two bars ahead


def test_the_report_holds_it_all(compared: Comparison) -> None:
    assert compared.out is not None
    out = Path(compared.out)
    assert sorted(path.name for path in out.iterdir()) == ["report.html", "report.json", "table.csv", "table.md"]
    page = (out / "report.html").read_text()
    for text in ("Against the best", "What differs", "model.hidden_size", "Learning curves", "valid Rank IC"):
        assert text in page
    content = json.loads((out / "report.json").read_text())
    names = [table["name"] for table in content["tables"]]
    assert names == ["What differs", "Runs", "Against the best: " + compared.tests[0].against]
    assert pd.read_csv(out / "table.csv")["name"].tolist() == [row.name for row in compared.rows]
    assert compared.report == f"{compared.out}/report.html"


def test_a_comparison_shows_itself(compared: Comparison) -> None:
    assert repr(compared).startswith("<comparison of 3 runs, Rank IC: ")
    assert f"common test dates {compared.common_dates}" in repr(compared)
    assert "<table>" in compared._repr_html_()


def test_seeds_are_one_row_with_a_deviation(runs: tuple[str, ...], tmp_path: Path) -> None:
    for seed in (0, 1):
        shutil.copytree(runs[seed], tmp_path / "gru" / f"seed-{seed}")
    found = compare_runs([str(tmp_path / "gru"), runs[2]])
    row = next(row for row in found.rows if row.name == "gru")
    each = found.results[found.results["name"] == "gru"]["Rank IC"].to_numpy()
    assert row.fits == 2
    assert row.ours["Rank IC"].mean == pytest.approx(each.mean())
    assert row.ours["Rank IC"].std == pytest.approx(each.std(ddof=1))
    (test,) = found.tests
    mean = found.results.groupby("name")["Rank IC"].mean()
    assert test.difference == pytest.approx(mean[test.name] - mean[test.against])


def test_data_that_are_gone(make_config, runs: tuple[str, ...], bars: str, tmp_path: Path) -> None:
    from raybench.cluster.jobs.training import train

    shutil.copytree(bars, tmp_path / "bars")
    train(make_config(data__bars=str(tmp_path / "bars"), train__max_epochs=1, train__seed=5), out=str(tmp_path / "run"))
    (tmp_path / "bars").rename(tmp_path / "moved")
    found = compare_runs([*runs[:2], str(tmp_path / "run")])
    lost = found.results.set_index("name").loc["run"]
    assert np.isnan(lost["Rank IC"])
    assert np.isfinite(lost["valid_rank_ic"])
    assert found.common_dates > 0
    assert len(found.tests) == 1
    assert any("run: " in line and "is not tested (" in line for line in found.warnings)
    assert any(line.startswith("the data differ") for line in found.warnings)
    again = compare_runs([*runs[:2], str(tmp_path / "run")], bars=str(tmp_path / "moved"))
    assert np.isfinite(again.results.set_index("name").loc["run", "Rank IC"])
    assert again.warnings == ()


def test_no_common_dates_and_other_labels_are_said(make_config, runs: tuple[str, ...], tmp_path: Path) -> None:
    from raybench.cluster.jobs.training import train

    segments = make_config().data.segments.model_dump(mode="json") | {"test": ["2015-12-01", "2015-12-31"]}
    label = "Ref($close, -5) / Ref($close, -1) - 1"
    train(make_config(data__segments=segments, data__label=label, train__max_epochs=1), out=str(tmp_path / "late"))
    found = compare_runs([runs[0], str(tmp_path / "late")])
    assert found.common_dates == 0
    assert found.tests == ()
    assert np.isfinite(found.results["Rank IC"]).all()
    assert any(line.startswith("no test date is common to all") for line in found.warnings)
    assert any(line.startswith("the labels differ") and label in line for line in found.warnings)


def test_what_lies_at_out_is_not_overwritten(runs: tuple[str, ...]) -> None:
    with pytest.raises(DataError, match=r"--out is .* which holds a run"):
        compare_runs(runs[:2], out=runs[2])


def test_a_comparison_may_be_made_again_in_its_place(runs: tuple[str, ...], tmp_path: Path) -> None:
    first, again = (compare_runs(runs[:2], out=str(tmp_path / "out")) for _ in range(2))
    assert [row.name for row in again.rows] == [row.name for row in first.rows]
    assert (tmp_path / "out" / "table.csv").read_bytes()


def test_in_python_runs_and_addresses(runs: tuple[str, ...], tmp_path: Path) -> None:
    run = raybench.load_run(runs[0])
    found = raybench.compare(run, Path(runs[1]), out=tmp_path / "out")
    assert [row.fits for row in found.rows] == [1, 1]
    assert (tmp_path / "out" / "report.html").exists()
    assert len(raybench.compare([run, runs[1]]).rows) == 2
    with pytest.raises(raybench.errors.ArgumentError, match="want a run, its address"):
        raybench.compare(run, 3)  # type: ignore[arg-type]
    with pytest.raises(DataError, match=r"^out= is"):
        raybench.compare(run, runs[1], out=runs[2])
