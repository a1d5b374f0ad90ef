"""Which columns of somebody's table are features: labels, row numbers, dates and identifiers are not, and are named."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from raybench.config import load_config
from raybench.config.panel_spec import PanelSpec
from raybench.errors import DataError
from raybench.feature_sets.table import open_features
from raybench.feature_sets.table_columns import DATE, INDEX, LABEL, NAME, no_feature, used_columns
from raybench.panel.build import build_panel
from raybench.panel.streaming import plan_stream
from raybench.training.sources import open_sources

FEATURES = ["KMID", "ROC5", "close", "return_5d", "ret1", "forward_pe", "target_price_upside", "yield", "beta"]
FEATURES += ["weekday", "indexed_close", "y_beta", "OPEN0", "level", "rank_5d", "next_earnings_days", "alpha001"]
DAYS = pd.bdate_range("2020-01-01", periods=90)
LABELS = ["LABEL1", "label", "LABEL_5D", "label5d", "Labels", "('label', 'LABEL0')", "y", "target", "target_5d"]
LABELS += [
    "y_true",
    "fwd_ret_5",
    "ret_fwd_1d",
    "future_return",
    "next_close",
    "RET5FWD",
    "forward_returns_10",
    "return_label",
]


@pytest.mark.parametrize("name", LABELS)
def test_labels(name: str) -> None:
    assert no_feature(name) == LABEL


@pytest.mark.parametrize("name", ["Unnamed: 0", "Unnamed: 0.1", "index", "level_0", "__index_level_0__", "row_id"])
def test_row_numbers(name: str) -> None:
    assert no_feature(name) == INDEX


@pytest.mark.parametrize(("name", "why"), [("year", DATE), ("Month", DATE), ("trade_date", DATE), ("permno", NAME)])
def test_dates_and_identifiers(name: str, why: str) -> None:
    assert no_feature(name) == why


@pytest.mark.parametrize(
    "name",
    FEATURES,
)
def test_features(name: str) -> None:
    assert no_feature(name) == ""


def rows(instruments: int = 12, seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    keys = pd.MultiIndex.from_product(
        [[f"I{i:02d}" for i in range(instruments)], DAYS], names=["instrument", "datetime"]
    )
    frame = pd.DataFrame(index=keys).reset_index()
    return frame.assign(
        a=rng.normal(size=len(frame)), b=rng.normal(size=len(frame)), LABEL0=rng.normal(size=len(frame))
    ).astype({"a": "float32", "b": "float32", "LABEL0": "float32"})


def in_valid(frame: pd.DataFrame | None = None, **values: float) -> pd.DataFrame:
    """The rows with other values in the validation segment."""
    frame = rows() if frame is None else frame
    frame.loc[frame["datetime"].between(DAYS[60], DAYS[74]), list(values)] = list(values.values())
    return frame


def config(path: Path, train: dict[str, Any] | None = None, **data: Any) -> Any:
    segments = {
        name: [str(DAYS[a].date()), str(DAYS[b].date())]
        for name, (a, b) in {"train": (0, 59), "valid": (60, 74), "test": (75, 89)}.items()
    }
    tree = {"features": str(path), "feature_set": {"type": "table"}, "step_len": 3, "segments": segments, **data}
    tree.setdefault("processors", {"infer": [], "learn": [{"class": "DropnaLabel"}]})
    return load_config({"data": tree, "model": {"type": "gru"}, "train": train or {}})


def panel(tmp_path: Path, frame: pd.DataFrame, make: Callable[..., Any] = build_panel, **data: Any) -> Any:
    frame.to_parquet(tmp_path / "t.parquet", index=False)
    return make(PanelSpec.of(config(tmp_path / "t.parquet", **data)), None, open_features(tmp_path / "t.parquet"))


made_by = pytest.mark.parametrize("make", [build_panel, partial(plan_stream, block_rows=200)], ids=["whole", "blocks"])


def test_what_is_no_feature_is_left_out_and_named(tmp_path: Path) -> None:
    made = panel(tmp_path, rows().assign(LABEL1=0.5, year=2020, name="x", **{"Unnamed: 0": range(12 * 90)}))
    assert made.columns == ("a", "b")
    assert made.warnings == (
        "data.features: 4 columns are no features and left out: LABEL1 (a label), year (a date), name (no numbers), "
        "Unnamed: 0 (a row number); data.feature_set.columns chooses others",
    )


def test_columns_that_are_asked_for_are_taken(tmp_path: Path) -> None:
    frame = rows().assign(year=np.tile(np.arange(90) % 3, 12))[["instrument", "datetime", "year", "b", "a", "LABEL0"]]
    made = panel(tmp_path, frame, feature_set={"type": "table", "columns": ["a", "year"]})
    assert (made.columns, made.warnings) == (("year", "a"), ())


def test_another_label_than_the_first(tmp_path: Path) -> None:
    """It need not be among the features, and the first is none then either."""
    frame = rows().assign(LABEL_5D=lambda f: f["a"] + 3 * f["b"] ** 2)
    made = panel(tmp_path, frame, label="LABEL_5D", horizon=5)
    assert made.columns == ("a", "b")
    np.testing.assert_array_equal(made.segments["train"].samples.raw_label_S[:2], frame["LABEL_5D"].to_numpy()[[0, 90]])


def test_a_table_of_labels_alone_says_so(tmp_path: Path) -> None:
    rows().rename(columns={"a": "LABEL1", "b": "year"}).to_parquet(tmp_path / "t.parquet")
    with pytest.raises(DataError, match=r"it has only LABEL1 \(a label\), year \(a date\)"):
        open_features(tmp_path / "t.parquet")


@made_by
@pytest.mark.parametrize("infer", [[], [{"class": "ZScoreNorm"}, {"class": "Fillna"}]], ids=["as they are", "fitted"])
def test_features_without_a_word_to_say_are_named(tmp_path: Path, make: Callable[..., Any], infer: list[Any]) -> None:
    processors = {"infer": infer, "learn": [{"class": "DropnaLabel"}]}
    made = panel(tmp_path, rows().assign(c=1.5, d=np.nan, e=np.inf), make, processors=processors)
    assert made.warnings == (
        "features that have no number in the train segment: d, e",
        "features that are constant in the train segment: c (1.5)",
    )


@made_by
def test_a_feature_that_knows_the_label_is_named(tmp_path: Path, make: Callable[..., Any]) -> None:
    frame = rows()
    noise = np.random.default_rng(1).normal(size=len(frame))
    market = pd.Series(np.random.default_rng(2).normal(size=90) * 9).reindex(np.tile(np.arange(90), 12)).to_numpy()
    known = frame.assign(LABEL0=frame["LABEL0"] + market, five=frame["LABEL0"] / 2 + noise, beta=market)
    (line,) = panel(tmp_path, known, make).warnings
    assert "five (0.4" in line
    assert "beta" not in line  # what all instruments have in common on a date ranks nobody


@made_by
@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_features_that_are_dates_are_named(tmp_path: Path, make: Callable[..., Any], unit: str) -> None:
    """Told by what they hold: a volume as large as a count of seconds is none."""
    frame = rows()
    day = frame["datetime"].dt
    volume = np.random.default_rng(3).integers(400_000_000, 4_000_000_000, len(frame))
    made = panel(
        tmp_path,
        frame.assign(
            date_int=day.year * 10_000 + day.month * 100 + day.day,
            stamp=frame["datetime"].to_numpy().astype(f"datetime64[{unit}]").astype(np.int64),
            volume=volume,
        ),
        make,
    )
    (line,) = made.warnings
    assert line.startswith("features that look like dates: date_int (dates as 20200131), stamp (")
    assert line.endswith("since 1970); data.feature_set.columns leaves them out")


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize(
    ("instruments", "learn", "says"),
    [
        (1, ["DropnaLabel", "CSRankNorm"], r"every label is the same after CSRankNorm .*there is one instrument"),
        (1, ["DropnaLabel", "CSZScoreNorm"], r"none is left after CSZScoreNorm.*|every label is the same"),
    ],
)
def test_labels_that_leave_nothing_to_learn_are_refused(
    tmp_path: Path, instruments: int, learn: list[str], says: str, streamed: bool
) -> None:
    rows(instruments).to_parquet(tmp_path / "t.parquet")
    steps = [{"class": name, "kwargs": {"fields_group": "label"} if name != "DropnaLabel" else {}} for name in learn]
    wanted = config(tmp_path / "t.parquet", processors={"infer": [], "learn": steps})
    with pytest.raises(DataError, match=says):
        (plan_stream if streamed else build_panel)(PanelSpec.of(wanted), None, open_features(tmp_path / "t.parquet"))


@pytest.mark.parametrize(
    ("frame", "learn", "says"),
    [
        (rows(2), "CSRankNorm", "there are 2 instruments: CSRankNorm compares the instruments of a date"),
        (rows(1), "ZScoreNorm", "there is one instrument: IC and Rank IC compare"),
        (rows().assign(LABEL0=np.tile(np.arange(90) % 5, 12)), "CSZFillna", "on 100% of the dates of train all labels"),
        (in_valid(LABEL0=0.01), "CSRankNorm", "on 100% of the dates of valid all labels are the same after CSRankNorm"),
        (in_valid(rows(1), LABEL0=0.01), "ZScoreNorm", "on a date of train there is one instrument"),
        (
            rows()[lambda f: (f["instrument"] == "I00") | (f["datetime"] < DAYS[60])],
            "CSRankNorm",
            "of valid there is one",
        ),
    ],
)
@made_by
def test_labels_that_leave_nothing_to_rank_are_told(
    tmp_path: Path, frame: Any, learn: str, says: str, make: Callable[..., Any]
) -> None:
    steps = [{"class": "DropnaLabel"}, {"class": learn, "kwargs": {"fields_group": "label"}}]
    (line,) = panel(tmp_path, frame, make, processors={"infer": [], "learn": steps}).warnings
    assert says in line


@made_by
def test_infinite_labels_are_counted(tmp_path: Path, make: Callable[..., Any]) -> None:
    """A close of 0 leaves them; a rank makes the best of the date of them."""
    frame = rows()
    frame.loc[[3, 500], "LABEL0"] = [np.inf, -np.inf]
    steps = [{"class": "DropnaLabel"}, {"class": "CSRankNorm", "kwargs": {"fields_group": "label"}}]
    (line,) = panel(tmp_path, frame, make, processors={"infer": [], "learn": steps}).warnings
    assert line.startswith("2 labels of train are infinite")


def test_concepts_of_other_dates_are_refused(tmp_path: Path) -> None:
    """Nobody would be in any: the network would learn that there are none."""
    spans = pd.DataFrame({"instrument": ["I00", "I01"], "concept": "c", "start": "2010-01-01", "end": "2011-01-01"})
    spans.to_csv(tmp_path / "c.csv", index=False)
    with pytest.raises(DataError, match=r"c\.csv: no instrument is in a concept on any date from 2020-01-01 to"):
        panel(tmp_path, rows(), concepts=str(tmp_path / "c.csv"))
    spans.assign(end="2020-01-02").to_csv(tmp_path / "c.csv", index=False)
    assert panel(tmp_path, rows(), concepts=str(tmp_path / "c.csv")).segments["train"].memberships.ever


@made_by
def test_samples_that_weigh_nothing_are_counted(tmp_path: Path, make: Callable[..., Any]) -> None:
    weighed = {"sample_weight": {"type": "column", "column": "w"}}
    frame = rows().assign(w=1.0)
    frame.loc[[3, 500], "w"] = [np.nan, 0.0]
    frame.to_parquet(tmp_path / "t.parquet", index=False)
    spec = PanelSpec.of(config(tmp_path / "t.parquet", train=weighed))
    (line,) = make(spec, None, open_features(tmp_path / "t.parquet")).warnings
    assert line.startswith("2 of 720 samples of train weigh 0")
    frame.assign(w=0.0).to_parquet(tmp_path / "t.parquet", index=False)
    with pytest.raises(DataError, match=r"train\.sample_weight\.column: every weight is 0 or missing"):
        make(spec, None, open_features(tmp_path / "t.parquet"))


@made_by
def test_a_column_without_numbers_in_valid_is_named(tmp_path: Path, make: Callable[..., Any]) -> None:
    """What is measured there would be of another network: of one that never sees the column."""
    (line,) = panel(tmp_path, in_valid(b=np.nan), make).warnings
    assert line == "have numbers in the train segment and hardly any in the validation segment: b (0% of the rows)"
    assert panel(tmp_path, rows(), make).warnings == ()


@made_by
@pytest.mark.parametrize(
    ("step_len", "told"), [(30, ()), (32, ("52% of the windows",)), (500, ("100% of the windows",))]
)
def test_windows_that_are_longer_than_the_history_are_told(
    tmp_path: Path, make: Callable[..., Any], step_len: int, told: tuple[str, ...]
) -> None:
    found = panel(tmp_path, rows(), make, step_len=step_len).warnings
    assert len(found) == len(told)
    assert all(f"{says} of train are cut: data.step_len is {step_len}, and there are 75 dates" in line
               for says, line in zip(told, found, strict=True))  # fmt: skip


@pytest.mark.parametrize("kind", [str, bool])
@pytest.mark.parametrize(
    ("name", "key", "data"),
    [
        ("LABEL0", "data.label", {}),
        ("label5", "data.label", {"label": "label5", "horizon": 5}),
        ("a", "data.feature_set", {"feature_set": {"type": "table", "columns": ["a", "b"]}}),
    ],
)
def test_a_column_without_numbers_is_not_called_missing(
    tmp_path: Path, name: str, key: str, data: dict[str, Any], kind: type
) -> None:
    frame = rows()
    frame[name] = frame["a"].astype(kind)
    frame.to_parquet(tmp_path / "t.parquet", index=False)
    spec = PanelSpec.of(config(tmp_path / "t.parquet", **data))
    with pytest.raises(DataError, match=rf"t\.parquet: column {name}, which {key} names, holds no numbers"):
        open_sources(spec)


@made_by
def test_an_embargo_that_takes_all_labels_is_what_the_error_names(tmp_path: Path, make: Callable[..., Any]) -> None:
    with pytest.raises(DataError, match=r"data.segments.train .* has no sample with a label .* or data.embargo"):
        panel(tmp_path, rows(), make, embargo=60)


def test_the_reader_and_the_choice_agree(tmp_path: Path) -> None:
    rows().assign(y=1.0).to_parquet(tmp_path / "t.parquet")
    assert used_columns(PanelSpec.of(config(tmp_path / "t.parquet")), open_features(tmp_path / "t.parquet")) == (
        "a",
        "b",
    )
