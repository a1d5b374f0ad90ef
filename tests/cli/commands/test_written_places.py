"""No command writes among what is something else: one line, exit code 2, before any work, nothing touched."""

from __future__ import annotations

from pathlib import Path

import pytest

from raybench.cli.app import run
from raybench.market.importing.job import import_bars
from raybench.market.sources import memory_source
from raybench.storage.claims import held
from tests.cli.commands.test_export import run_of
from tests.market.small_market import market

OURS = {
    "a search": ["search.yaml", "trials.parquet", "best/config.yaml"],
    "a bench": ["bench.json", "runs/gru/seed-0/config.yaml"],
    "a folder of runs": ["seed-0/config.yaml"],
    "a comparison": ["table.csv", "report.html"],
    "an explanation": ["explain.json", "report.html"],
    "a bars dataset": ["metadata.json", "bars/part-0.parquet", "calendar/c.parquet"],
    "a run": ["config.yaml", "manifest.json"],
    "a score table": ["date=2020-01-02/scores.parquet"],
    "a feature table": ["part-00000-abc.parquet", "../taken.manifest.json"],
    "Parquet files that raybench did not write": ["prices.parquet"],
    "an evaluation": ["metrics.json", "report.html"],
    "a demo": ["market/market.parquet", "bars/metadata.json"],
}
CONFIG = """
data:
  bars: bars
  universe: all
  segments: {train: [2014-03-03, 2014-07-31], valid: [2014-08-01, 2014-09-30], test: [2014-10-01, 2014-12-31]}
model: {type: gru}
"""
COMMANDS = [  # what the command may write into, and how it is typed
    ("a bars dataset", ["import", "nowhere.csv", "--to"]),
    ("a feature table", ["features", "--bars", "bars", "--to"]),
    ("a run", ["train", "c.yaml", "--out"]),
    ("a run", ["adopt", "--weights", "nowhere.pt", "--config", "c.yaml", "--out"]),
    ("a folder of runs", ["train", "c.yaml", "--seeds", "2", "--out"]),
    ("a search", ["tune", "c.yaml", "--out"]),
    ("a bench", ["bench", "c.yaml", "--out"]),
    ("a score table", ["score", "--model", "run", "--bars", "bars", "--to"]),
    ("an evaluation", ["evaluate", "--scores", "nowhere", "--bars", "nowhere", "--out"]),
    ("an explanation", ["explain", "--model", "run", "--bars", "bars", "--date", "2020-03-02", "--out"]),
    ("a comparison", ["compare", "run", "run", "--out"]),
    ("a demo", ["demo", "--out"]),
]
FILES = [["export", "--model", "run", "--format", "onnx", "--to"], ["init", "--bars", "bars", "--to"]]
BESIDE_NOTES = ("a run", "a folder of runs", "a search", "an evaluation", "an explanation", "a comparison")
TYPED = pytest.mark.parametrize(("wanted", "line"), COMMANDS, ids=[" ".join(line[:4]) for _, line in COMMANDS])


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Path:
    room = tmp_path_factory.mktemp("room")
    import_bars(memory_source(market()), room / "bars")
    (room / "c.yaml").write_text(CONFIG)
    run_of(room / "run", {"type": "gru", "hidden_size": 4, "num_layers": 1})
    return room


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def put(folder: Path, names: list[str], text: str = "mine") -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


@TYPED
@pytest.mark.parametrize("holds", [*OURS, "other files"])
def test_what_is_something_else_is_left_alone(
    room: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    wanted: str,
    line: list[str],
    holds: str,
) -> None:
    if holds == wanted or (holds == "other files" and wanted in BESIDE_NOTES):
        return  # these put their files beside a reader's notes
    monkeypatch.chdir(room)
    put(tmp_path / "taken", OURS.get(holds, ["thesis.docx"]), holds)
    before = contents(tmp_path)
    assert run([*line, str(tmp_path / "taken")]) == 2
    *_, said = capsys.readouterr().err.splitlines()
    assert f"taken, which holds {holds}; want a new or empty folder, or {wanted} (change --" in said
    assert contents(tmp_path) == before


NAMES = {
    "a search": ["best/weights.bin", "scores/exam.csv", "evaluation/1.txt", "ray/notes.txt", "report.html"],
    "a run": ["checkpoints/checkpoint_10/weights.bin", "metrics.json", "tensorboard/events"],
    "an evaluation": ["metrics.json", "report.html"],
    "an explanation": ["report.html", "explain.json"],
    "a comparison": ["table.csv", "table.md"],
}


@pytest.mark.parametrize(
    ("wanted", "line", "name"),
    [(wanted, line, name) for wanted, line in COMMANDS for name in NAMES.get(wanted, [])],
    ids=lambda value: value if isinstance(value, str) else value[0],
)
def test_somebody_s_things_of_the_names_that_a_command_writes_are_not_touched(
    room: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    wanted: str,
    line: list[str],
    name: str,
) -> None:
    """A project folder of somebody's, ``--out .``: a search once deleted its folder scores."""
    monkeypatch.chdir(room)
    put(tmp_path / "project", [name, "notes.md"])
    before = contents(tmp_path)
    assert run([*line, str(tmp_path / "project")]) == 2
    *_, said = capsys.readouterr().err.splitlines()
    first = name.partition("/")[0]
    assert f"project, which holds {first}, and what is written there has names like that; want a new or empty" in said
    assert contents(tmp_path) == before


HEX = "0123456789abcdef"
WITHIN = {
    "a bars dataset": ["metadata.json", "bars/part-0.parquet", "calendar/c.parquet"],
    "a score table": ["date=2020-01-02/scores.parquet"],
    "a feature table": [f"part-I0-00000-{HEX}.parquet"],
}


@pytest.mark.parametrize(
    "line", [*(line for _, line in COMMANDS), *FILES], ids=lambda line: " ".join(line[:4]) if line else ""
)
@pytest.mark.parametrize("kind", WITHIN)
def test_nothing_is_written_within_what_is_read_as_a_whole(
    room: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    line: list[str],
    kind: str,
) -> None:
    """The tables of an evaluation in a folder of scores break its readers; a build of features cleared theirs."""
    if line[0] == "export":
        pytest.importorskip("onnxscript")
    monkeypatch.chdir(room)
    put(tmp_path / "taken", WITHIN[kind])
    before = contents(tmp_path)
    assert run([*line, str(tmp_path / "taken" / "deep" / "er")]) == 2
    *_, said = capsys.readouterr().err.splitlines()
    assert f"er, which lies in {tmp_path}/taken, and that is {kind}; want a place outside of it (change --" in said
    assert contents(tmp_path) == before


def test_a_configuration_of_somebody_s_is_no_search_and_no_run(
    room: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With --resume they were written over, comments and all."""
    monkeypatch.chdir(room)
    for command, name in (("tune", "search.yaml"), ("train", "config.yaml")):
        put(tmp_path / command, [name], f"# what I learned last year\n{CONFIG}")
        before = contents(tmp_path)
        for more in ([], ["--resume"]):
            line = [command, str(tmp_path / command / name), "--out", str(tmp_path / command), *more]
            assert run(line) == 2
            *_, said = capsys.readouterr().err.splitlines()
            assert f"{command} holds a {name} that no" in said
            assert said.endswith("of this version wrote; choose another --out")
            assert contents(tmp_path) == before


@pytest.mark.parametrize("line", [["demo", "--out"], ["features", "--bars", "bars", "--to"]], ids=["demo", "features"])
def test_one_command_at_a_time_writes_a_folder(
    room: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], line: list[str]
) -> None:
    monkeypatch.chdir(room)
    with held(tmp_path / "it", what=line[0]):
        assert run([*line, str(tmp_path / "it")]) == 2
    *_, said = capsys.readouterr().err.splitlines()
    assert f"it: is being written by `raybench {line[0]}` (process " in said
    assert not list(tmp_path.iterdir())
