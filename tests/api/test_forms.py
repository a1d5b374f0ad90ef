"""One thing in several forms: lists or text, a table of labels, numbers as YAML 1.1 leaves them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

import raybench
from raybench.config import load_config
from raybench.errors import ConfigError, DataError

DATES = pd.bdate_range("2020-01-01", periods=90)


def frame(instruments: int = 4) -> pd.DataFrame:
    rng = np.random.default_rng(3)
    parts = []
    for number in range(instruments):
        close = 10 * np.exp(np.cumsum(rng.normal(0, 0.02, len(DATES))))
        prices = {"open": close, "high": close * 1.01, "low": close * 0.99, "close": close}
        parts.append(pd.DataFrame({"instrument": f"I{number}", "datetime": DATES, **prices, "volume": 1e6}))
    return pd.concat(parts, ignore_index=True)


def test_sets_and_columns_are_text_or_lists() -> None:
    bars = frame()
    one = raybench.features(bars, set="alpha158,alpha360", columns=["KMID", "CLOSE59"])
    pd.testing.assert_frame_equal(
        raybench.features(bars, set=["alpha158", "alpha360"], columns=["KMID", "CLOSE59"]), one
    )
    assert list(raybench.features(bars, columns="KMID").columns) == ["instrument", "datetime", "KMID", "LABEL0"]
    with pytest.raises(DataError, match="no column 'K'"):
        raybench.features(bars, columns="K")


def test_a_series_of_labels_is_a_label() -> None:
    bars = frame()
    rng = np.random.default_rng(0)
    scores = bars[["instrument", "datetime"]].assign(score=rng.standard_normal(len(bars)))
    labels = scores.assign(mine=2 * scores["score"] + 0.1 * rng.standard_normal(len(bars))).drop(columns="score")
    series = labels.set_index(["datetime", "instrument"])["mine"]
    want = raybench.evaluate(scores, labels.rename(columns={"mine": "label"})).metrics
    for given in (series, series.rename(None), labels):
        assert raybench.evaluate(scores, label=given).metrics == pytest.approx(want, nan_ok=True, rel=0)
    assert want["Rank IC"] > 0.5
    with pytest.raises(DataError, match=r"label= is a table of labels, and bars= is given too; want one"):
        raybench.evaluate(scores, bars, label=series)
    with pytest.raises(DataError, match=r"label=: has the columns mine, other; want one"):
        raybench.evaluate(scores, label=labels.assign(other=1.0))


def test_text_of_numbers_is_taken_from_python_whatever_the_configuration_is(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    tree = yaml.safe_load((Path(__file__).parents[2] / "configs" / "gru_alpha158.yaml").read_text())
    path.write_text(yaml.safe_dump(tree))
    for source in (path, tree):
        assert load_config(source, {"train.lr": "2e-4"}).train.lr == 2e-4
    with pytest.raises(ConfigError, match="leave out the quotes"):
        load_config(path, ['train.lr="2e-4"'])
    text = yaml.safe_dump({**tree, "train": {**tree["train"], "weight_decay": "1e-5"}})
    path.write_text(text.replace("weight_decay: 1e-5", "weight_decay: '1e-5'"))
    with pytest.raises(ConfigError, match="weight_decay"):
        load_config(path, {"train.lr": "2e-4"})
