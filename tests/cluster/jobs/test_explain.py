"""`raybench explain` on a run and bars: what it publishes, on Ray and without, and what it refuses."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from raybench.cli.app import run as command
from raybench.cluster.jobs import explaining
from raybench.cluster.jobs.explaining import explain
from raybench.cluster.jobs.scoring import score
from raybench.config import Config
from raybench.errors import DataError
from raybench.scoring.table import read_scores
from raybench.storage import files
from raybench.storage.claims import held

MakeConfig = Callable[..., Config]
MakeRun = Callable[[Config], str]
DAY = "2015-09-16"


@pytest.fixture(scope="module")
def whole(run: str, market_bars: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    """An explanation with importance over a month, made in this process; read only."""
    out = str(tmp_path_factory.mktemp("explained"))
    explain(run, bars=market_bars, date=DAY, start="2015-09-01", end="2015-09-30", out=out, repeats=2, local=True)
    return out


def test_one_process_at_a_time_writes_a_folder(run: str, market_bars: str, tmp_path: Path) -> None:
    with held(tmp_path / "e", what="explain"), pytest.raises(DataError, match="is being written by `raybench explain`"):
        explain(run, bars=market_bars, date=DAY, out=str(tmp_path / "e"), local=True)
    assert not list(tmp_path.iterdir())


def table(out: str | Path, name: str) -> pd.DataFrame:
    frame: pd.DataFrame = pq.read_table(Path(out) / f"{name}.parquet", partitioning=None).to_pandas()
    return frame


def test_publishes_tables_page_and_summary(whole: str) -> None:
    names = {path.stem for path in Path(whole).glob("*.parquet")}
    assert names == {"instruments", "hidden_states", "correlation", "gates", "gradients", "importance"}
    summary = json.loads((Path(whole) / "explain.json").read_text())
    assert summary["datetime"].startswith(DAY)
    assert summary["hidden_states"] == {"rnn.l0": 8}
    assert summary["gates"] == {"rnn.l0": ["reset", "update", "new"]}
    assert list(summary["absent"]) == ["attention"]
    assert summary["rows"]["hidden_states.parquet"] == summary["instruments"] * 8 * 8
    assert summary["importance"]["measure"] == "rank_ic_drop"
    assert summary["importance"]["dates"] > 15
    assert len(table(whole, "importance")) == len(summary["features"]) + summary["step_len"]
    assert not list(Path(whole).parent.glob("*.staging"))


def test_scores_are_those_of_the_score_table(whole: str, run: str, market_bars: str, tmp_path: Path) -> None:
    score(run, bars=market_bars, to=str(tmp_path / "s"), start=DAY, end=DAY, local=True)
    theirs = read_scores(str(tmp_path / "s"))
    ours = table(whole, "instruments")
    assert list(ours["instrument"]) == list(theirs["instrument"])
    np.testing.assert_allclose(ours["score"], theirs["score"], atol=1e-6)
    assert ours["label"].notna().any()


@pytest.mark.ray
def test_ray_gives_the_same_tables(local_ray: None, whole: str, run: str, market_bars: str, tmp_path: Path) -> None:
    explain(run, bars=market_bars, date=DAY, start="2015-09-01", end="2015-09-30", out=str(tmp_path), repeats=2)
    ours, theirs = ({p.name: p.read_bytes() for p in Path(out).glob("*.parquet")} for out in (tmp_path, whole))
    assert ours == theirs


def test_an_instrument_alone_and_a_network_with_attention(
    make_config: MakeConfig, make_run: MakeRun, whole: str, market_bars: str, tmp_path: Path
) -> None:
    """An explanation written over another leaves nothing of it."""
    out = tmp_path / "e"
    alstm = make_run(make_config(model__type="alstm", model__hidden_size=4))
    name = table(whole, "instruments")["instrument"].iloc[3]
    explain(alstm, bars=market_bars, date=DAY, out=str(out), instruments=[name], repeats=1, local=True)
    assert set(table(out, "attention")["instrument"]) == {name}
    assert set(table(out, "gate_units")["unit"]) == {0, 1, 2, 3}
    gru = make_run(make_config(model__hidden_size=4))
    done = explain(gru, bars=market_bars, date=DAY, out=str(out), repeats=1, local=True)
    assert not (out / "attention.parquet").exists()
    assert not (out / "gate_units.parquet").exists()
    assert f"Gradients of {name}" not in Path(done.report).read_text()


def test_a_network_that_compares_instruments_and_their_concepts(
    make_config: MakeConfig, make_run: MakeRun, market_bars: str, tmp_path: Path
) -> None:
    frame = pd.DataFrame({"instrument": [f"SYN{i:04d}" for i in range(30)], "start": "2014-01-01", "end": "2016-12-31"})
    for name, kinds in (("old", 4), ("new", 5)):
        frame.assign(concept=[f"sector {i % kinds}" for i in range(30)]).to_csv(tmp_path / f"{name}.csv", index=False)
    config = make_config(
        model="{type: hist, hidden_size: 8}", train__dates_per_batch=2, data__concepts=str(tmp_path / "old.csv")
    )
    done = explain(
        make_run(config),
        bars=market_bars,
        concepts=str(tmp_path / "new.csv"),
        date=DAY,
        out=str(tmp_path / "e"),
        repeats=1,
        local=True,
    )
    assert done.summary["attention"] == {
        "concept_attention": ["instrument", "place"],
        "hidden_attention": ["instrument", "other"],
    }
    assert done.summary["gradients_of"] == "sum"
    attention = table(tmp_path / "e", "attention")
    assert set(attention["place"].dropna()) == set(range(5))
    sums = attention.groupby(["source", "instrument"])["weight"].sum()
    np.testing.assert_allclose(sums, 1.0, atol=1e-5)


def test_the_newest_date_has_no_label(run: str, market_bars: str, tmp_path: Path) -> None:
    done = explain(run, bars=market_bars, date="2015-12-31", out=str(tmp_path), repeats=1, local=True)
    assert done.summary["importance"]["measure"] == "score_change"
    assert done.summary["importance"]["rank_ic"] is None
    assert table(tmp_path, "instruments")["label"].isna().all()


@pytest.mark.parametrize("step", ["write", "rename"])
def test_a_summary_means_that_all_is_there(
    run: str, market_bars: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    out, calls = tmp_path / "e", 0
    explain(run, bars=market_bars, date=DAY, out=str(out), repeats=1, local=True)
    assert (out / "explain.json").exists()

    def fail_at_the_third(name: str, uri: str) -> None:
        nonlocal calls
        calls += name == step
        if calls == 3:
            raise OSError("disk gone")

    with monkeypatch.context() as patch:
        patch.setattr(files, "_checkpoint", fail_at_the_third)
        with pytest.raises(OSError, match="disk gone"):
            explain(run, bars=market_bars, date="2015-09-17", out=str(out), repeats=1, local=True)
    assert not (out / "explain.json").exists()


def test_command_prints_one_json_summary(
    run: str, market_bars: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = ["explain", "--model", run, "--bars", market_bars, "--date", DAY, "--out", str(tmp_path), "--local"]
    assert command([*line, "--repeats", "1", "--json", "--quiet"]) == 0
    done = capsys.readouterr()
    said = json.loads(done.out.splitlines()[-1])
    assert len(said["top_features"]) == 5
    assert list(said["absent"]) == ["attention"]
    assert done.err == ""


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--date", "2015-09-19"], "--date is 2015-09-19, a date without data"),
        (["--date", "soon"], "--date is 'soon'"),
        (["--date", DAY, "--start", "2015-10-01"], "no date from --start 2015-10-01 to --end 2015-09-16"),
        (["--date", DAY, "--instruments", "NOBODY"], "--instruments names NOBODY"),
    ],
)
def test_what_cannot_be_explained_is_one_line(
    run: str, market_bars: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], says: str
) -> None:
    out = str(tmp_path / "e")
    line = ["explain", "--model", run, "--bars", market_bars, "--out", out, "--local", "--repeats", "1", "--quiet"]
    assert command([*line, *options]) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert says in err
    assert not Path(out).exists()


def test_a_stranger_is_told_of_before_the_importance_is_measured(
    run: str, market_bars: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(explaining, "_importance", lambda *_: pytest.fail("hours of permutations"))
    with pytest.raises(DataError, match="--instruments names NOBODY"):
        explain(run, bars=market_bars, date=DAY, out=str(tmp_path / "e"), instruments=["NOBODY"], local=True)


def test_a_date_without_members_is_one_line(
    make_config: MakeConfig, make_run: MakeRun, market_bars: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    late = make_run(make_config(data__universe="late"))
    line = ["explain", "--model", late, "--bars", market_bars, "--out", str(tmp_path / "e"), "--local", "--quiet"]
    assert command([*line, "--date", "2014-03-03"]) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert "late" in err
