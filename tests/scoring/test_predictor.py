"""Scoring one date at a time: whole dates for networks that compare instruments, concepts as they were on the date."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from raybench.config import Config, load_config
from raybench.config.panel_spec import PanelSpec
from raybench.market.bars import Bars
from raybench.models.fused import layer
from raybench.models.fused.layer import run_layer
from raybench.panel import Panel, pack, unpack
from raybench.panel.build import build_panel, scoring_panel
from raybench.scoring import predictor
from raybench.scoring.predictor import MomentScores, Predictor
from raybench.training.network import build_model
from tests.panel.panel_market import COLUMNS, SEGMENTS, market_frame, panel_of, write_bars

CHANGES = "2020-11-20"


@pytest.fixture(scope="module")
def bars(tmp_path_factory: pytest.TempPathFactory) -> Bars:
    return write_bars(tmp_path_factory.mktemp("market") / "bars", market_frame())


def hist(bars: Bars, concepts: Path) -> Config:
    return load_config(
        {
            "data": {
                "bars": bars.uri,
                "universe": "few",
                "feature_set": {"type": "alpha158", "columns": COLUMNS},
                "step_len": 5,
                "segments": SEGMENTS,
                "concepts": str(concepts),
            },
            "model": {"type": "hist", "hidden_size": 8, "num_layers": 1},
        }
    )


def gru(bars: Bars) -> Config:
    data = {
        "bars": bars.uri,
        "universe": "few",
        "feature_set": {"type": "alpha158", "columns": COLUMNS},
        "step_len": 5,
        "segments": SEGMENTS,
    }
    return load_config({"data": data, "model": {"type": "gru", "hidden_size": 8}})


def write_concepts(path: Path, *, second: str = "even") -> Path:
    """Two concepts all the time; from CHANGES on some instruments have another one."""
    rows = [(f"I{i:02d}", "even" if i % 2 == 0 else "odd", "2020-01-01", "2021-12-31") for i in range(8)]
    rows += [(f"I{i:02d}", second, CHANGES, "2021-12-31") for i in (1, 3, 5)]
    pd.DataFrame(rows, columns=["instrument", "concept", "start", "end"]).to_csv(path, index=False)
    return path


def scores(
    config: Config, bars: Bars, start: str = "2020-11-02", end: str = "2020-12-18", *, fused: bool = False
) -> list[MomentScores]:
    fitted = build_panel(PanelSpec.of(config), bars, None, segments=("train",)).processors
    panel = through_the_store(
        scoring_panel(PanelSpec.of(config), bars, None, fitted, np.datetime64(start), np.datetime64(end))
    )
    scorer = Predictor(config, build_model(config, panel.columns).state_dict(), panel, fused=fused)
    return list(scorer.score_between(np.datetime64(start), np.datetime64(end) + 1))


def through_the_store(panel: Panel) -> Panel:
    return unpack(*pack(panel))


def test_a_date_is_given_whole(bars: Bars, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = hist(bars, write_concepts(tmp_path / "concepts.csv"))
    whole = scores(config, bars)
    monkeypatch.setattr(predictor, "LARGEST_BATCH", 2)
    for one, other in zip(whole, scores(config, bars), strict=True):
        np.testing.assert_array_equal(one.score_N, other.score_N)
    assert all(len(one.score_N) > 2 for one in whole)


def test_a_date_does_not_depend_on_what_is_scored_with_it(bars: Bars, tmp_path: Path) -> None:
    config = hist(bars, write_concepts(tmp_path / "concepts.csv"))
    everything = {scored.moment: scored.score_N for scored in scores(config, bars)}
    for scored in scores(config, bars, start="2020-11-25", end="2020-12-02"):
        np.testing.assert_array_equal(scored.score_N, everything[scored.moment])


def test_a_concept_counts_from_its_first_day_on(bars: Bars, tmp_path: Path) -> None:
    """No look-ahead: what becomes true on CHANGES changes no score before it, and those from then on."""
    before, after = (write_concepts(tmp_path / f"{name}.csv", second=name) for name in ("even", "theme"))
    pairs = list(zip(scores(hist(bars, before), bars), scores(hist(bars, after), bars), strict=True))
    same = {str(a.moment)[:10]: np.array_equal(a.score_N, b.score_N) for a, b in pairs}
    assert all(equal for day, equal in same.items() if day < CHANGES)
    assert not any(equal for day, equal in same.items() if day >= CHANGES)
    assert min(same) < CHANGES < max(same)


def test_training_and_scoring_see_the_same_concepts(bars: Bars, tmp_path: Path) -> None:
    config = hist(bars, write_concepts(tmp_path / "concepts.csv"))
    panel = panel_of(config, bars, None)
    test = panel.segments["test"]
    assert test.memberships is not None
    model = build_model(config, panel.columns).eval()
    scored = scores(config, bars)[0]
    on_date = np.flatnonzero(panel.dates[test.samples.date_S] == scored.moment)
    codes = [torch.from_numpy(a[on_date]) for a in (test.samples.instrument_S, test.samples.date_S)]
    x_NWF = test.source.gather(torch.from_numpy(test.samples.row_S[on_date]))
    with torch.inference_mode():
        expected = model(x_NWF, concepts=test.memberships.rows(*codes))
    np.testing.assert_allclose(scored.score_N, expected.numpy(), atol=1e-6)


@pytest.mark.parametrize("fused", [True, False])
def test_fused_layers_score_runs_that_were_trained_with_them(
    bars: Bars, monkeypatch: pytest.MonkeyPatch, fused: bool
) -> None:
    """Whatever the day: a date has the same bits alone as among others."""
    found = scores(gru(bars), bars)
    calls: list[int] = []
    monkeypatch.setattr(layer, "run_layer", lambda *given, **how: (calls.append(1), run_layer(*given, **how))[1])
    whole = scores(gru(bars), bars, fused=fused)
    assert bool(calls) is fused
    for one, other in zip(whole, found, strict=True):
        np.testing.assert_allclose(one.score_N, other.score_N, rtol=1e-5, atol=1e-6)
    day = str(whole[-1].moment)[:10]
    (alone,) = scores(gru(bars), bars, start=day, end=day, fused=fused)
    np.testing.assert_array_equal(alone.score_N, whole[-1].score_N)
