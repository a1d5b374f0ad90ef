"""What a folder is taken for, and what is not written into."""

from __future__ import annotations

from pathlib import Path

import pytest

from raybench.errors import DataError
from raybench.storage.places import Kind, refuse_others, what_is

FOLDERS = {
    Kind.NOTHING: [".DS_Store"],
    Kind.BARS: ["metadata.json", "bars/part-0.parquet", "calendar/c.parquet", "universe/all.parquet"],
    Kind.RUN: ["config.yaml", "manifest.json", "metrics.json", "history.parquet"],
    Kind.RUNS: ["seed-0/config.yaml", "seed-1/config.yaml"],
    Kind.SCORES: ["date=2020-01-02/scores.parquet"],
    Kind.FEATURES: ["part-00000-abc.parquet", "../x.manifest.json"],
    Kind.DEMO: ["market/market.parquet", "bars/metadata.json", "features/part-0.parquet", "run/config.yaml"],
    Kind.TABLES: ["prices.parquet"],
    Kind.EVALUATION: ["metrics.json", "report.html", "report.json", "daily.parquet"],
    Kind.EXPLANATION: ["explain.json", "report.html", "lags.parquet"],
    Kind.FILES: ["notes.txt"],
}


def made(folder: Path, kind: Kind) -> str:
    for name in FOLDERS[kind]:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return str(folder)


@pytest.mark.parametrize("kind", FOLDERS, ids=lambda kind: kind.name)
def test_a_folder_is_known_by_its_names(tmp_path: Path, kind: Kind) -> None:
    assert what_is(made(tmp_path / "x", kind)) is kind


@pytest.mark.parametrize(
    "unfinished",
    [
        ["bars/part-0.parquet", ".staging/importing"],
        ["bars/part-0.parquet", "calendar/c.parquet"],
        ["config.yaml", "checkpoints/0"],
    ],
)
def test_what_was_only_begun_counts(tmp_path: Path, unfinished: list[str]) -> None:
    for name in unfinished:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert what_is(tmp_path) in (Kind.BARS, Kind.RUN)


@pytest.mark.parametrize(
    ("names", "kind"),
    [
        (["report.html"], Kind.FILES),
        (["report.html", "daily.parquet"], Kind.EVALUATION),
        (["report.html", "instruments.parquet"], Kind.EXPLANATION),
    ],
)
def test_what_an_interrupted_report_left_can_be_made_again(tmp_path: Path, names: list[str], kind: Kind) -> None:
    for name in names:
        (tmp_path / name).touch()
    assert what_is(tmp_path) is kind
    refuse_others(tmp_path, Kind.EVALUATION if kind is Kind.FILES else kind, option="--out", files=True)


def test_a_feature_table_without_parts_has_its_manifest(tmp_path: Path) -> None:
    (tmp_path / "f").mkdir()
    (tmp_path / "f.manifest.json").write_text("{}")
    assert what_is(tmp_path / "f") is Kind.FEATURES


@pytest.mark.parametrize("kind", FOLDERS, ids=lambda kind: kind.name)
def test_only_nothing_and_its_own_kind_are_written_into(tmp_path: Path, kind: Kind) -> None:
    place = made(tmp_path / "x", kind)
    if kind in (Kind.NOTHING, Kind.SCORES):
        refuse_others(place, Kind.SCORES, option="--to")
        return
    with pytest.raises(DataError, match=rf"^--to is .*x, which holds {kind.value}; want a new or empty folder"):
        refuse_others(place, Kind.SCORES, option="--to")


@pytest.mark.parametrize("below", ["x", "x/y", "x/y/"])
def test_below_a_file_there_is_no_place(tmp_path: Path, below: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match=r"^--to is .*/file/x.*, and .*/file is a file, .* \(--to\)$"):
        refuse_others(f"{tmp_path}/file/{below}", Kind.SCORES, option="--to")
    refuse_others(f"{tmp_path}/new/{below}", Kind.SCORES, option="--to")


def test_strangers_files_may_be_no_obstacle_and_a_file_always_is(tmp_path: Path) -> None:
    refuse_others(made(tmp_path / "x", Kind.FILES), Kind.EVALUATION, option="--out", files=True)
    with pytest.raises(DataError, match=r"notes\.txt, which is a file"):
        refuse_others(tmp_path / "x" / "notes.txt", Kind.EVALUATION, option="--out", files=True)
    assert what_is(tmp_path / "nowhere") is Kind.NOTHING
