"""Each processor against its formula in pandas, on a table with NaN, ties and infinities."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from dataclasses import MISSING, fields
from typing import Any

import numpy as np
import pandas as pd
import pytest

from raybench.config.data.processors import PROCESSORS, ProcessorsConfig
from raybench.errors import ConfigError, RunError
from raybench.processors import FittedProcessors
from raybench.processors.by_date import ByDate
from raybench.processors.chain import Stages, make_chain, process
from raybench.processors.column import Rows
from raybench.processors.fitted import IMPLEMENTATIONS
from raybench.processors.table import ArrayColumns

NAMES = ("A", "B", "C", "EMPTY", "SAME")
DATES = pd.date_range("2020-01-01", periods=12).to_numpy().astype("datetime64[us]")
FIT = (np.datetime64("2020-01-03"), np.datetime64("2020-01-09"))


@pytest.fixture
def table() -> pd.DataFrame:
    """Columns of the features and LABEL0 by (date, instrument); rows as a frame has them, by instrument."""
    rng = np.random.default_rng(11)
    date, instrument = np.meshgrid(DATES, list("abcdefg"), indexing="ij")
    index = pd.MultiIndex.from_arrays([date.T.ravel(), instrument.T.ravel()], names=["datetime", "instrument"])
    values = rng.normal(0, 2, (len(index), len(NAMES) + 1)).astype(np.float32)
    values[rng.random(values.shape) < 0.1] = np.nan
    values[:, 1] = np.round(values[:, 1])
    values[rng.random(len(index)) < 0.05, 2] = np.inf
    values[rng.random(len(index)) < 0.05, 2] = -np.inf
    frame = pd.DataFrame(values, index=index, columns=[*NAMES, "LABEL0"])
    frame["EMPTY"], frame["SAME"] = np.float32(np.nan), np.float32(2.5)
    return frame[rng.random(len(frame)) < 0.9]


def run(
    table: pd.DataFrame,
    infer: list[Any],
    learn: list[Any],
    fitted: FittedProcessors | None = None,
    recipe: str = "qlib",
) -> Stages:
    parts = {"infer": infer, "learn": learn}
    date_R = np.searchsorted(DATES, table.index.get_level_values("datetime").to_numpy()).astype(np.int32)
    rows = Rows(dates=DATES, by_date=ByDate(date_R=date_R, num_dates=len(DATES)), fit_range=FIT)
    given = {part: [{"class": name, "kwargs": kwargs} for name, kwargs in steps] for part, steps in parts.items()}
    chain = make_chain(ProcessorsConfig.model_validate(given), NAMES, recipe=recipe)
    columns = ArrayColumns(columns=chain.columns, feature_MF=table[list(chain.columns)].to_numpy(copy=True))
    return process(chain, columns, table["LABEL0"].to_numpy(copy=True), rows, fitted=fitted)


def fit_rows(table: pd.DataFrame) -> pd.DataFrame:
    date = table.index.get_level_values("datetime")
    return table[(date >= FIT[0]) & (date <= FIT[1])]


def per_date(function: Callable[[pd.Series], pd.Series]) -> Callable[[pd.DataFrame], pd.DataFrame]:
    return lambda t: t.groupby("datetime", group_keys=False).transform(function)


def robust(t: pd.DataFrame) -> pd.DataFrame:
    fit = fit_rows(t)
    middle = fit.median()
    return ((t - middle) / (((fit - middle).abs().median() + 1e-12) * 1.4826)).clip(-3, 3)


def zscore(t: pd.DataFrame) -> pd.DataFrame:
    fit = fit_rows(t).astype(np.float64)
    mean, std = fit.mean(), fit.std(ddof=0)
    return (t - mean.where(std != 0, 0)) / std.where(std != 0, 1)


def minmax(t: pd.DataFrame) -> pd.DataFrame:
    fit = fit_rows(t)
    low, high = fit.min(), fit.max()
    return (t - low.where(low != high, 0)) / (high - low).where(low != high, 1)


def cs_robust(x: pd.Series) -> pd.Series:
    away = x - x.median()
    return (away / away.abs().median() / 1.4826).clip(-3, 3)


def no_inf(x: pd.Series) -> pd.Series:
    return x.replace([np.inf, -np.inf], x[~np.isinf(x)].mean())


FORMULAS: dict[str, tuple[dict[str, Any], Callable[[pd.DataFrame], pd.DataFrame]]] = {
    "RobustZScoreNorm": ({}, robust),
    "ZScoreNorm": ({}, zscore),
    "MinMaxNorm": ({}, minmax),
    "Fillna": ({"fill_value": 0.5}, lambda t: t.fillna(0.5)),
    "CSRankNorm": ({}, lambda t: (t.groupby("datetime").rank(pct=True) - 0.5) * 3.46),
    "CSZScoreNorm": ({}, per_date(lambda x: (x - x.mean()) / x.std())),
    "CSZScoreNorm robust": ({"method": "robust"}, per_date(cs_robust)),
    "CSZFillna": ({}, per_date(lambda x: x.fillna(x.mean()))),
    "ProcessInf": ({}, per_date(no_inf)),
}
FINITE = ("ZScoreNorm", "MinMaxNorm", "CSZScoreNorm")  # what these make of an infinity nobody should rely on


@pytest.mark.parametrize("name", FORMULAS)
def test_formula(table: pd.DataFrame, name: str) -> None:
    kwargs, formula = FORMULAS[name]
    if name.split()[0] in FINITE:
        table = table.replace([np.inf, -np.inf], np.nan)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        want = formula(table)
    done = run(table, [(name.split()[0], kwargs)], [])
    np.testing.assert_allclose(done.infer.table.feature_MF, want[list(NAMES)], rtol=2e-6, atol=1e-6)
    np.testing.assert_allclose(done.infer.label_K, want["LABEL0"], rtol=2e-6, atol=1e-6)


@pytest.mark.parametrize("group", ["feature", "label"])
def test_a_group_leaves_the_other_alone(table: pd.DataFrame, group: str) -> None:
    done = run(table, [("Fillna", {"fields_group": group, "fill_value": 9})], [])
    changed = table.fillna(9.0)
    want = table.assign(**changed[list(NAMES)] if group == "feature" else changed[["LABEL0"]])
    np.testing.assert_array_equal(done.infer.table.feature_MF, want[list(NAMES)])
    np.testing.assert_array_equal(done.infer.label_K, want["LABEL0"])


def test_tanh_is_for_features_only(table: pd.DataFrame) -> None:
    done = run(table, [("TanhProcess", {})], [])
    np.testing.assert_allclose(done.infer.table.feature_MF, np.tanh(table[list(NAMES)] - 1), atol=1e-6)
    np.testing.assert_array_equal(done.infer.label_K, table["LABEL0"])


def test_fit_range_of_its_own(table: pd.DataFrame) -> None:
    kwargs = {"fit_start_time": "2020-01-02", "fit_end_time": "2020-01-04"}
    done = run(table, [("MinMaxNorm", kwargs)], [])
    date = table.index.get_level_values("datetime")
    fit = table["A"][(date >= "2020-01-02") & (date <= "2020-01-04")]
    assert done.fitted.infer[0].feature_PF[0, 0] == fit.min()


def test_learn_drops_then_compares_what_is_left(table: pd.DataFrame) -> None:
    learn = [("DropnaLabel", {}), ("CSRankNorm", {"fields_group": "label"})]
    done = run(table, [("Fillna", {"fields_group": "feature"})], learn, recipe="raybench")
    left = table["LABEL0"].dropna()
    want = (left.groupby("datetime").rank(pct=True) - 0.5) * 3.46
    np.testing.assert_array_equal(done.learn.frame_K, np.flatnonzero(table["LABEL0"].notna()))
    np.testing.assert_allclose(done.learn.label_K, want, atol=1e-6)
    assert done.learn.table is done.infer.table
    np.testing.assert_array_equal(done.infer.label_K, table["LABEL0"])


def test_learn_processors_that_change_features_leave_infer_alone(table: pd.DataFrame) -> None:
    learn = [("DropnaLabel", {}), ("ZScoreNorm", {}), ("DropnaProcessor", {}), ("CSZScoreNorm", {})]
    infer = [("DropCol", {"col_list": ["EMPTY", "C", "SAME"]})]
    done = run(table, infer, learn)
    want = zscore(table[["A", "B", "LABEL0"]].dropna(subset=["LABEL0"])).dropna()
    want = per_date(lambda x: (x - x.mean()) / x.std())(want)
    np.testing.assert_allclose(done.learn.table.feature_MF, want[["A", "B"]], rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(done.learn.label_K, want["LABEL0"], rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(done.infer.table.feature_MF, table[["A", "B"]])


def test_infer_may_drop_rows(table: pd.DataFrame) -> None:
    infer = [("DropnaProcessor", {"fields_group": "feature"}), ("CSZScoreNorm", {"fields_group": "feature"})]
    done = run(table, [("FilterCol", {"col_list": ["B", "A"]}), *infer], [])
    left = table[["A", "B"]].dropna()
    want = per_date(lambda x: (x - x.mean()) / x.std())(left)
    np.testing.assert_allclose(done.infer.table.feature_MF, want, rtol=1e-5, atol=1e-6)
    assert len(done.learn.kept_K) == len(left)


def test_columns_keep_the_order_of_the_table(table: pd.DataFrame) -> None:
    done = run(table, [("FilterCol", {"col_list": ["C", "A"]})], [])
    assert done.fitted.columns == done.infer.table.columns == ("A", "C")
    with pytest.raises(ConfigError, match="did you mean SAME"):
        run(table, [("FilterCol", {"col_list": ["SAMES"]})], [])
    with pytest.raises(ConfigError, match="no feature"):
        run(table, [("DropCol", {"col_list": list(NAMES)})], [])


def test_recipe_raybench_trains_on_the_features_that_are_scored(table: pd.DataFrame) -> None:
    with pytest.raises(ConfigError, match=r"data\.processors\.infer.*recipe: qlib"):
        run(table, [], [("CSZScoreNorm", {})], recipe="raybench")


def test_json_keeps_every_bit_and_applies_alike(table: pd.DataFrame) -> None:
    infer = [("ProcessInf", {}), ("RobustZScoreNorm", {"fit_end_time": "2020-01-07"}), ("Fillna", {})]
    learn = [("DropnaLabel", {}), ("ZScoreNorm", {"fields_group": "label"})]
    done = run(table, infer, learn)
    again = FittedProcessors.from_json(done.fitted.to_json())
    assert again.to_json() == done.fitted.to_json()
    for one, two in zip((*again.infer, *again.learn), (*done.fitted.infer, *done.fitted.learn), strict=True):
        assert one.processor == two.processor
        assert one.label == two.label or (np.isnan(one.label) == np.isnan(two.label)).all()
        if two.feature_PF is not None:
            np.testing.assert_array_equal(one.feature_PF, two.feature_PF)
    other = table.iloc[len(table) // 2 :]
    applied = run(other, infer, learn, fitted=again)
    date = other.index.get_level_values("datetime")
    whole = pd.DataFrame(done.infer.table.feature_MF, index=table.index).iloc[len(table) // 2 :]
    clean = ~np.isinf(other["C"].to_numpy())  # the mean of a date depends on who is there
    np.testing.assert_array_equal(applied.infer.table.feature_MF[clean], whole.to_numpy()[clean])
    assert len(date) == len(applied.infer.label_K)
    with pytest.raises(RunError):
        FittedProcessors.from_json('{"infer": []}')


def test_every_processor_of_a_configuration_is_computed() -> None:
    assert list(IMPLEMENTATIONS) == list(PROCESSORS)


@pytest.mark.parametrize("name", PROCESSORS)
def test_arguments_are_those_of_the_configuration(name: str) -> None:
    """Names alike, and defaults in the configuration alone."""
    found = fields(IMPLEMENTATIONS[name])
    assert {field.name for field in found} == set(PROCESSORS[name].model_fields)
    assert all(field.default is MISSING and field.default_factory is MISSING for field in found)


def stored(name: str, **kwargs: Any) -> str:
    step = {"class": name, "kwargs": kwargs, "feature": None, "label": None}
    return json.dumps({"table_columns": NAMES, "infer": [step], "learn": []})


@pytest.mark.parametrize(
    ("name", "kwargs", "said"),
    [
        ("Fillna", {"value": 1}, "value: unknown key"),
        ("Fillna", {"fill_value": "0"}, "want a number"),
        ("CSZScoreNorm", {"method": "zcsore"}, "did you mean 'zscore'"),
        ("CSRankNorm", {"fields_group": "labels"}, "did you mean 'label'"),
        ("ZScoreNorm", {"fit_start_time": "soon"}, "want a date"),
        ("FillNa", {}, "unknown processor 'FillNa'; did you mean 'Fillna'"),
    ],
)
def test_a_run_holds_what_a_configuration_may_say(name: str, kwargs: dict[str, Any], said: str) -> None:
    with pytest.raises(RunError, match=said) as refused:
        FittedProcessors.from_json(stored(name, **kwargs))
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("name", ["TanhProcess", "ProcessInf", "DropCol"])
def test_runs_made_when_all_had_a_group_are_read(name: str) -> None:
    kwargs = {"col_list": ["A"]} if name == "DropCol" else {}
    old = FittedProcessors.from_json(stored(name, fields_group=None, **kwargs))
    assert old == FittedProcessors.from_json(stored(name, **kwargs))
