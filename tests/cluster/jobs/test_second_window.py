"""Daily and hourly windows side by side: trained on Ray, scored on Ray and without, explained."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from raybench.cli.app import run as command
from raybench.cluster.jobs.adoption import adopt
from raybench.cluster.jobs.scoring import score
from raybench.cluster.jobs.training import train
from raybench.config import Config, load_config
from raybench.errors import RunError
from raybench.runs.artifact import StoredRun, load_run
from raybench.scoring.table import read_scores
from raybench.storage import files
from tests.cluster.scored import bytes_of
from tests.small import days_of_hours, import_rows, small_hours

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.usefixtures("local_ray")]

START, T = "2020-05-11", "2020-05-20"


def hours() -> pd.DataFrame:
    return small_hours(pd.bdate_range("2020-01-01", periods=110))


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Config:
    folder, frame = tmp_path_factory.mktemp("two"), hours()
    own = {"feature_set": {"type": "alpha158", "columns": ["KMID", "ROC5"]}, "step_len": 6}
    return load_config(
        {
            "data": {
                "bars": import_rows(days_of_hours(frame), folder / "days"),
                "feature_set": {"type": "alpha158", "columns": ["KLEN", "STD5", "ROC5"]},
                "step_len": 4,
                "segments": {
                    "train": ["2020-01-10", "2020-03-31"],
                    "valid": ["2020-04-01", "2020-04-30"],
                    "test": ["2020-05-01", "2020-06-02"],
                },
                "second": {"bars": import_rows(frame, folder / "hours"), **own},
            },
            "model": {"type": "gru", "hidden_size": 4, "num_layers": 1},
            "train": {"max_epochs": 2, "batch_size": 100},
            "cluster": {"num_workers": 2, "cpus_per_worker": 1},
        }
    )


@pytest.fixture(scope="module")
def trained(config: Config, tmp_path_factory: pytest.TempPathFactory) -> StoredRun:
    return train(config, out=str(tmp_path_factory.mktemp("run")))


def days_of(config: Config) -> str:
    assert config.data.bars is not None
    return config.data.bars


def test_the_run_holds_both_and_scores_alike_anywhere(trained: StoredRun, config: Config, tmp_path: Path) -> None:
    assert trained.weights["second_rnn.weight_ih_l0"].shape == (12, 2)
    assert trained.weights["fc_out.weight"].shape == (1, 8)
    assert trained.second_processors is not None
    assert trained.second_processors.columns == ("KMID", "ROC5")
    assert "second_processors.json" in trained.manifest["sha256"]
    score(trained.uri, bars=days_of(config), to=str(tmp_path / "ray"), start=START, end=T)
    score(trained.uri, bars=days_of(config), to=str(tmp_path / "here"), start=START, end=T, local=True)
    assert len(bytes_of(tmp_path / "ray")) == 8
    assert bytes_of(tmp_path / "ray") == bytes_of(tmp_path / "here")
    score(trained.uri, bars=days_of(config), to=str(tmp_path / "alone"), start=T, end=T, local=True)
    assert bytes_of(tmp_path / "alone") == {T: bytes_of(tmp_path / "here")[T]}


def test_scores_know_the_hours_of_their_day_and_none_later(trained: StoredRun, config: Config, tmp_path: Path) -> None:
    known = hours()
    rng = np.random.default_rng(1)
    fields = ["open", "high", "low", "close", "volume"]
    for name, since in (("after", "2020-05-21"), ("last", f"{T} 15:00")):
        changed = known.copy()
        later = changed["datetime"] >= since
        changed.loc[later, fields] *= rng.uniform(0.5, 2, (int(later.sum()), len(fields)))
        other = import_rows(changed, tmp_path / f"{name}-bars")
        score(trained.uri, bars=days_of(config), second=other, to=str(tmp_path / name), start=START, end=T, local=True)
    score(trained.uri, bars=days_of(config), to=str(tmp_path / "as is"), start=START, end=T, local=True)
    after, last, as_is = (bytes_of(tmp_path / name) for name in ("after", "last", "as is"))
    assert after == as_is
    assert [day for day in as_is if last[day] != as_is[day]] == [T]


def test_hours_that_are_late_are_an_error_for_their_day(
    trained: StoredRun, config: Config, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    late = import_rows(hours().loc[lambda frame: frame["datetime"] < T], tmp_path / "late")
    line = ["score", "--model", trained.uri, "--bars", days_of(config), "--second", late, "--local", "--quiet"]
    assert command([*line, "--to", str(tmp_path / "s"), "--start", T, "--end", T]) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert "data.second.bars" in err
    assert "2020-05-19" in err


def test_one_window_has_no_use_for_second_bars(
    config: Config, make_run: Callable[[Config], str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one = make_run(load_config(config, ["data.second=null"]))
    assert load_run(one).second_processors is None
    line = ["score", "--model", one, "--bars", days_of(config), "--second", "hours", "--local", "--quiet"]
    assert command([*line, "--to", str(tmp_path / "s")]) == 2
    assert "--second hours" in capsys.readouterr().err


def test_it_is_explained_by_its_first_window(trained: StoredRun, config: Config, tmp_path: Path) -> None:
    line = ["explain", "--model", trained.uri, "--bars", days_of(config), "--date", T, "--local", "--quiet"]
    assert command([*line, "--out", str(tmp_path / "e"), "--repeats", "1"]) == 0
    summary = json.loads((tmp_path / "e" / "explain.json").read_text())
    assert summary["features"] == ["KLEN", "ROC5", "STD5"]
    score(trained.uri, bars=days_of(config), to=str(tmp_path / "s"), start=T, end=T, local=True)
    ours = pd.read_parquet(tmp_path / "e" / "instruments.parquet")
    np.testing.assert_allclose(ours["score"], read_scores(str(tmp_path / "s"))["score"], atol=1e-6)


def test_weights_are_adopted_with_both(trained: StoredRun, config: Config, tmp_path: Path) -> None:
    weights = files.join(trained.uri, "model.safetensors")
    taken = adopt(config, weights=weights, out=str(tmp_path / "adopted"))
    assert taken.second_processors is not None
    assert trained.second_processors is not None
    assert taken.second_processors.to_json() == trained.second_processors.to_json()
    with pytest.raises(RunError, match="second_rnn"):
        adopt(load_config(config, ["data.second=null"]), weights=weights, out=str(tmp_path / "one"))


def test_a_run_without_the_processors_is_refused(trained: StoredRun, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(trained.uri, broken)
    manifest = json.loads((broken / "manifest.json").read_text())
    del manifest["sha256"]["second_processors.json"]
    (broken / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(RunError, match=r"manifest\.json: was changed: run_id is not that of what it says"):
        load_run(str(broken))
