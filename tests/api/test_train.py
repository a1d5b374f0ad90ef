"""From frames to a run, and from a run and frames to scores, as a notebook does it."""

from __future__ import annotations

import io
from contextlib import redirect_stderr
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import raybench
from raybench.errors import ConfigError, UserError
from tests.market.small_market import market

BARS = market().to_frame()
DAYS = np.unique(BARS["datetime"])


def config() -> dict[str, Any]:
    """As a plain YAML loader gives it: lr is text, dates are dates."""
    cuts = [0, len(DAYS) // 2, len(DAYS) // 2 + 1, 3 * len(DAYS) // 4, 3 * len(DAYS) // 4 + 1, len(DAYS) - 1]
    first, last = (iter([pd.Timestamp(DAYS[i]).date() for i in cuts[k::2]]) for k in (0, 1))
    return {
        "data": {
            "universe": "csi300",
            "feature_set": {"type": "alpha158", "columns": ["KMID", "ROC5"]},
            "step_len": 3,
            "segments": {name: [next(first), next(last)] for name in ("train", "valid", "test")},
        },
        "model": {"type": "gru", "hidden_size": 4, "num_layers": 1},
        "train": {"lr": "2e-3", "max_epochs": 1, "batch_size": 100},
        "cluster": {"num_workers": 1},
    }


def pages() -> str:
    """The examples of docs/python.md, one after the other."""
    text = (Path(__file__).parents[2] / "docs" / "python.md").read_text(encoding="utf-8")
    return "\n".join(block.partition("```")[0] for block in text.split("```python\n")[1:])


@pytest.mark.ray
@pytest.mark.filterwarnings("ignore:.*all instruments have the same score")  # of a small market and one epoch
def test_the_notebook_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    page: dict[str, Any] = {"bars": BARS, "config": config()}
    exec(pages(), page)
    run, scores, result = page["run"], page["scores"], page["result"]
    assert Path(run.uri).parent == tmp_path / "runs"
    assert repr(run).startswith(f"<run {run.uri}: network gru")
    assert list(scores.columns) == ["instrument", "datetime", "score", "rank", "run_id"]
    assert scores["run_id"].unique().tolist() == [run.run_id]
    assert raybench.evaluate(scores, run.config.data.bars).metrics["IC"] == result.metrics["IC"]
    polars = pytest.importorskip("polars")
    with redirect_stderr(io.StringIO()) as told:
        few = raybench.load_run(run.uri).score(polars.from_pandas(BARS), start=DAYS[-3], progress=True)
    pd.testing.assert_frame_equal(few, scores[scores["datetime"] >= DAYS[-3]].reset_index(drop=True))
    assert "scoring dates" in told.getvalue()
    with pytest.raises(UserError, match="start= is 'soon'"):
        run.score(BARS, start="soon")


def train(out: Path, bars: Any, **options: Any) -> Any:
    return raybench.train(config(), bars=bars, out=out, local=True, **options)


def kept(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("what", ["bars", "features"])
def test_data_of_a_run_are_not_replaced_by_others(tmp_path: Path, what: str) -> None:
    given = BARS if what == "bars" else raybench.features(BARS, columns=["KMID", "ROC5"])
    column = "close" if what == "bars" else "KMID"
    other = given.assign(**{column: given[column] * 1.5})
    universe = {} if what == "bars" else {"data.universe": "all"}
    run = raybench.train(config(), **{what: given}, out=tmp_path / "run", local=True, **universe)
    before = kept(tmp_path)
    with pytest.raises(UserError, match=f"run.data/{what}.* holds other {what} than {what}=, .* choose another out="):
        raybench.train(config(), **{what: other}, out=tmp_path / "run", local=True, resume=True, **universe)
    assert kept(tmp_path) == before
    again = raybench.train(config(), **{what: given}, out=tmp_path / "run", local=True, **universe)
    assert (again.run_id, kept(tmp_path)) == (run.run_id, before)


def test_what_was_put_for_a_training_that_failed_goes_again(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="segment"):
        train(tmp_path / "run", BARS, **{"data.segments.train": ["1980-01-01", "1980-02-01"]})
    assert not (tmp_path / "run.data").exists()


def test_bars_that_changed_since_are_warned_of(tmp_path: Path) -> None:
    run = train(tmp_path / "run", BARS)
    place = run.config.data.bars
    other = market().to_frame()
    other["close"] *= 1.5
    from raybench.market.bars import BarBlock, open_bars
    from raybench.market.importing.job import import_bars
    from raybench.market.sources import memory_source

    csi300 = open_bars(place).listed("csi300")
    import_bars(memory_source(BarBlock.from_frame(other)), place, universes={"csi300": csi300})
    with pytest.warns(UserWarning, match="run was trained on other data .*it stays as it is"):
        assert train(tmp_path / "run", place).run_id == run.run_id


def test_numbers_that_only_yaml_1_2_knows() -> None:
    from raybench.config import load_config

    tree = config()
    tree["data"]["bars"] = Path("bars")
    assert load_config(tree, {"train.weight_decay": "1e-5"}).train.weight_decay == 1e-5
    assert load_config(tree, {"train.lr": np.float32(0.5)}).train.lr == 0.5
    for wrong in ({"train.lr": "fast"}, {"train.lr": "0.1"}, {"train.lrr": 1.0}, {"data.bars.x": 1}):
        with pytest.raises(ConfigError):
            load_config(tree, wrong)


def test_several_seeds_are_one_folder_and_one_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    runs = raybench.train(config(), bars=BARS, seeds=2, out="runs/gru", local=True, **{"train.seed": 3})
    assert [run.config.train.seed for run in runs] == runs.table["seed"].tolist() == [3, 4]
    stored = pd.read_parquet(tmp_path / "runs" / "gru" / "seeds.parquet")
    pd.testing.assert_frame_equal(runs.table, stored)
    assert repr(runs).startswith(f"<2 runs {tmp_path / 'runs' / 'gru'}: network gru, seeds 3, 4, valid Rank IC ")
    mean = runs.score(BARS, start=DAYS[-2])
    for same in ("runs/gru", list(runs)):
        pd.testing.assert_frame_equal(raybench.score(same, BARS, start=DAYS[-2]), mean)
    again = raybench.train(config(), bars=BARS, seeds=[4], out="runs/gru", local=True, **{"train.seed": 3})
    assert [run.run_id for run in again] == [run.run_id for run in runs]
    with pytest.raises(UserError, match=r"holds a folder of runs.*change out="):
        raybench.train(config(), bars=BARS, out="runs/gru", local=True)


def test_what_is_refused_leaves_no_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=r"^seeds= is 0; want 1 to 1000"):
        raybench.train(config(), bars=BARS, seeds=0, local=True)
    (tmp_path / "scores" / "date=2020-01-02").mkdir(parents=True)
    with pytest.raises(UserError, match="which holds a score table"):
        raybench.train(config(), bars=BARS, out="scores")
    assert [path.name for path in tmp_path.iterdir()] == ["scores"]


def test_adopting_speaks_of_arguments(tmp_path: Path) -> None:
    (tmp_path / "seed-0").mkdir()
    with pytest.raises(UserError, match=r"^out= is .* holds a folder of runs; .*\(change out=\)"):
        raybench.adopt({**config(), "data": {**config()["data"], "bars": "bars"}}, weights="w.pt", out=tmp_path)
