"""What a folder is taken for, and what is not written into."""

from __future__ import annotations

from pathlib import Path

import pytest

from raybench.errors import DataError
from raybench.reports.html import Page, to_html
from raybench.storage.places import MARKS, Kind, refuse_others, refuse_within, what_is
from tests.nobody import own_folder, run_as_nobody

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
    wanted = Kind.EVALUATION if kind is Kind.FILES else kind
    for name in names:
        (tmp_path / name).touch()
    assert what_is(tmp_path) is kind
    with pytest.raises(DataError, match=r"which holds .*report\.html, and what is written there has names like that"):
        refuse_others(tmp_path, wanted, option="--out", files=True)
    for mark in MARKS:
        (tmp_path / "report.html").write_bytes(b"<!doctype html><head>" + mark)
        refuse_others(tmp_path, wanted, option="--out", files=True)


def test_every_page_says_whose_it_is() -> None:
    page = Page(kind="report", title="a page", subtitle="", cards=[], drawings=[], rules="", inputs={})
    head = to_html(page).encode()[:2000]
    assert all(mark in head for mark in MARKS)


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


HEX = "0123456789abcdef"
RUN = ["config.yaml", "checkpoints/checkpoint_2026-01-01_00-00-00.5/facts.json"]
WITHIN: dict[str, tuple[list[str], str]] = {
    "a bars dataset": (["metadata.json", "bars/b", "calendar/c"], "x"),
    "a score table": (["date=2020-01-02/scores.parquet"], "date=2020-01-02/x"),
    "a feature table": ([f"part-I0-00000-{HEX}.parquet"], "x/y"),
    "a run": (RUN, "checkpoints/x"),
    "a search": (["search.yaml", "trials.parquet"], "trials/x"),
    "a bench": (["bench.json", "runs/gru/x"], "runs/gru/y"),
}


def put(folder: Path, names: list[str]) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


@pytest.mark.parametrize("wanted", [Kind.EVALUATION, Kind.SCORES, Kind.RUN, Kind.BARS, Kind.FILE])
@pytest.mark.parametrize("kind", WITHIN)
def test_what_is_cleared_or_read_as_a_whole_holds_nothing_else(tmp_path: Path, kind: str, wanted: Kind) -> None:
    names, below = WITHIN[kind]
    put(tmp_path / "it", names)
    told = rf"^--to is {tmp_path}/it/{below}, which lies in {tmp_path}/it, and that is {kind};"
    with pytest.raises(DataError, match=told):
        refuse_within(f"{tmp_path}/it/{below}", wanted, option="--to")
    refuse_within(f"{tmp_path}/beside", wanted, option="--to")


def test_a_table_of_features_is_known_by_the_manifest_beside_it(tmp_path: Path) -> None:
    (tmp_path / "it").mkdir()
    (tmp_path / "it.manifest.json").write_text('{"name": "a program of the web"}')
    refuse_within(tmp_path / "it" / "x", Kind.RUN, option="--to")
    (tmp_path / "it.manifest.json").write_text('{"state": "building", "request": {}}')
    with pytest.raises(DataError, match="that is a feature table"):
        refuse_within(tmp_path / "it" / "x", Kind.RUN, option="--to")


@pytest.mark.parametrize(
    ("names", "below", "wanted"),
    [
        (RUN, "evaluation", Kind.EVALUATION),
        (RUN, "scores", Kind.SCORES),
        (RUN, "model.onnx", Kind.FILE),
        (RUN, "why/2020-01-02", Kind.EXPLANATION),
        (["search.yaml", "trials.parquet"], "scores", Kind.SCORES),
        (["search.yaml", "trials.parquet"], "evaluation", Kind.EVALUATION),
        (["search.yaml", "trials.parquet", *(f"best/{name}" for name in RUN)], "best/evaluation", Kind.EVALUATION),
        (["bench.json", "results.parquet"], "evaluation/gru", Kind.EVALUATION),
        (["bench.json", *(f"runs/gru/seed-0/{name}" for name in RUN)], "runs/gru/seed-0/scores", Kind.SCORES),
        (["config.yaml", "manifest.json", "checkpoints/best.pt"], "bars", Kind.BARS),
        (["metadata.json", "search.yaml", "bench.json"], "scores", Kind.SCORES),
        (["market/market.parquet", "bars/metadata.json"], "run", Kind.RUN),
    ],
)
def test_what_is_said_of_a_run_may_lie_in_it_and_a_project_holds_anything(
    tmp_path: Path, names: list[str], below: str, wanted: Kind
) -> None:
    put(tmp_path / "it", names)
    refuse_others(tmp_path / "it" / below, wanted, option="--to", files=True)


@pytest.mark.parametrize("wanted", [Kind.RUN, Kind.SEARCH, Kind.BARS, Kind.FEATURES])
def test_a_run_holds_no_other_run_and_no_data(tmp_path: Path, wanted: Kind) -> None:
    put(tmp_path / "it", RUN)
    with pytest.raises(DataError, match=r"lies in .* that is a run; want a place outside of it"):
        refuse_others(tmp_path / "it" / "x", wanted, option="--out")


def test_parts_of_features_whose_manifest_went_are_taken_up(tmp_path: Path) -> None:
    put(tmp_path / "it", [f"part-I0-00000-{HEX}.parquet"])
    refuse_others(tmp_path / "it", Kind.FEATURES, option="--to")
    put(tmp_path / "it", ["mine.parquet"])
    with pytest.raises(DataError, match="Parquet files that raybench did not write"):
        refuse_others(tmp_path / "it", Kind.FEATURES, option="--to")


@pytest.mark.parametrize(("inside", "kind"), [("market.parquet", Kind.DEMO), ("prices.csv", Kind.FILES)])
def test_a_market_of_somebody_s_makes_no_demo(tmp_path: Path, inside: str, kind: Kind) -> None:
    put(tmp_path, [f"market/{inside}", "bars/x"])
    assert what_is(tmp_path) is kind


REFUSED = """
import sys
from raybench.errors import DataError
from raybench.storage.places import Kind, refuse_others
for place, kind in zip(sys.argv[1:], (Kind.EVALUATION, Kind.EVALUATION, Kind.RUN, Kind.RUN), strict=True):
    try:
        refuse_others(place, kind, option="--out")
        print("may be")
    except DataError as error:
        print(error)
"""


def test_what_may_not_be_written_is_refused_before_the_work(tmp_path: Path) -> None:
    """Of another user: a new folder, one that is made anew each time, a finished run that stays; one's own."""
    own, theirs = own_folder(tmp_path), tmp_path / "theirs"
    for name, kind in (("evaluation", Kind.EVALUATION), ("run", Kind.RUN)):
        made(theirs / name, kind)
    (theirs / "evaluation" / "report.html").write_bytes(MARKS[0])
    places = [str(theirs / "a" / "new"), str(theirs / "evaluation"), str(theirs / "run"), str(own / "new")]
    done = run_as_nobody(["-c", REFUSED, *places], cwd=own)
    new, anew, finished, mine = done.stdout.splitlines()
    assert (
        new == f"--out is {places[0]}, and {theirs} cannot be written: Permission denied; choose another place (--out)"
    )
    assert anew.startswith(f"--out is {places[1]}, and {places[1]} cannot be written: Permission denied")
    assert (finished, mine) == ("may be", "may be")
