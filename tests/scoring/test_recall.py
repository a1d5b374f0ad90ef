"""Scoring with a memory of losses: stored where the run has it, else from labels that are known by then."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from raybench.config import Config, load_config
from raybench.config.panel_spec import PanelSpec
from raybench.feeds.feeds import Feeds, resident_feeds
from raybench.feeds.memory import StoredMemory
from raybench.feeds.world import SOLO
from raybench.market.bars import Bars
from raybench.panel import Panel, Samples, pack, unpack
from raybench.panel.build import scoring_panel
from raybench.scoring import predictor
from raybench.scoring.predictor import MomentScores, Predictor, repeatable
from raybench.training.network import build_model
from tests.panel.panel_market import COLUMNS, SEGMENTS, market_frame, panel_of, write_bars

START, END, WINDOW = "2020-11-02", "2020-12-11", 8
LABEL = [{"class": "DropnaLabel"}, {"class": "CSRankNorm", "kwargs": {"fields_group": "label"}}]
FEATURE_SETS: Mapping[str, dict[str, Any]] = {
    "alpha158": {"feature_set": {"type": "alpha158", "columns": COLUMNS}, "step_len": WINDOW},
    "alpha360": {"feature_set": {"type": "alpha360"}, "step_len": 60},
}


@pytest.fixture(scope="module")
def bars(tmp_path_factory: pytest.TempPathFactory) -> Bars:
    return write_bars(tmp_path_factory.mktemp("market") / "bars", market_frame())


def tra(bars: Bars, features: str = "alpha158", recipe: str = "raybench") -> Config:
    return load_config(
        {
            "data": {
                "bars": bars.uri,
                "universe": "few",
                "segments": SEGMENTS,
                "processors": {"infer": ["RobustZScoreNorm", "Fillna"], "learn": LABEL},
                **FEATURE_SETS[features],
            },
            "model": {
                "type": "tra",
                "model_config": {"hidden_size": 6, "num_layers": 1},
                "tra_config": {"hidden_size": 4, "src_info": "TPE"},
            },
            "recipe": recipe,
        }
    )


class Trained:
    """A network as drawn, and what it remembers of train and valid."""

    def __init__(self, config: Config, bars: Bars) -> None:
        self.config = config
        self.panel = panel_of(config, bars, None)
        network = build_model(config, self.panel.columns)
        feeds = resident_feeds(config, self.panel, SOLO, torch.device("cpu"), network=network)
        assert feeds.bank is not None
        feeds.bank.refresh(network)
        self.memory = StoredMemory.from_bytes(feeds.bank.stored())
        balance(network, feeds)
        self.weights = network.state_dict()
        with torch.no_grad():
            self.validation = torch.cat([inputs.call(network.eval()) for inputs, _ in feeds.valid.batches()]).numpy()

    def scores(
        self, bars: Bars, start: str = START, end: str = END, *, memory: StoredMemory | None = None
    ) -> dict[str, MomentScores]:
        panel = through_the_store(self.panel_of(bars, start, end))
        scorer = Predictor(self.config, self.weights, panel, memory=memory)
        with repeatable():
            found = scorer.score_between(np.datetime64(start), np.datetime64(end) + 1)
            return {str(scores.moment)[:10]: scores for scores in found}

    def panel_of(self, bars: Bars, start: str = START, end: str = END) -> Panel:
        days = np.datetime64(start), np.datetime64(end)
        return scoring_panel(PanelSpec.of(self.config), bars, None, self.panel.processors, *days, remembers=True)

    def given(self, panel: Panel) -> dict[int, Tensor]:
        """What the network is given of its memory on each date, by code."""
        scorer = Predictor(self.config, self.weights, panel, memory=self.memory)
        given: list[Tensor] = []
        scorer._model.register_forward_pre_hook(
            lambda _, args, named: given.append(named["hist_loss"]), with_kwargs=True
        )
        scored = list(scorer.score_between(np.datetime64(START), np.datetime64(END) + 1))
        assert all(np.isfinite(scores.score_N).all() for scores in scored)
        moments = [scores.moment for scores in scored]
        return dict(zip(np.searchsorted(panel.dates, moments).tolist(), given, strict=True))


@torch.no_grad()
def balance(network: Any, feeds: Feeds) -> None:
    """Have the router of a network as drawn trust each predictor about as often: all depends on what it is given."""
    logits: list[Tensor] = []
    with network.tra.fc.register_forward_hook(lambda module, args, made: logits.append(made)):
        for inputs, _ in feeds.valid.batches():
            inputs.call(network.eval())
    network.tra.fc.bias -= torch.cat(logits).mean(dim=0)


def through_the_store(panel: Panel) -> Panel:
    return unpack(*pack(panel))


@pytest.fixture(scope="module", params=[("alpha158", "raybench"), ("alpha360", "raybench"), ("alpha158", "qlib")])
def trained(request: pytest.FixtureRequest, bars: Bars) -> Trained:
    return Trained(tra(bars, *request.param), bars)


def assert_equal(found: Mapping[str, MomentScores], expected: Mapping[str, MomentScores]) -> None:
    for day, scores in found.items():
        assert np.array_equal(scores.score_N, expected[day].score_N), day
        assert list(scores.instrument_N) == list(expected[day].instrument_N)


def changes(one: Mapping[str, MomentScores], two: Mapping[str, MomentScores]) -> set[str]:
    return {day for day in one if not np.array_equal(one[day].score_N, two[day].score_N)}


def test_a_date_does_not_depend_on_what_else_is_scored(trained: Trained, bars: Bars) -> None:
    whole = trained.scores(bars, memory=trained.memory)
    days = list(whole)
    assert len(days) > 20
    for first, last in ((0, 0), (1, 3), (9, 12), (-1, -1)):
        part = trained.scores(bars, days[first], days[last], memory=trained.memory)
        assert len(part) == last - first + 1
        assert_equal(part, whole)


def test_validation_and_scoring_agree(trained: Trained, bars: Bars) -> None:
    """Dates of the validation segment are scored as they were validated, replayed or stored."""
    valid = trained.panel.segments["valid"].samples
    scored = trained.scores(bars, *SEGMENTS["valid"], memory=trained.memory)
    checked = 0
    for instrument, date, score in zip(valid.instrument_S, valid.date_S, trained.validation, strict=True):
        day = scored[str(trained.panel.dates[date])[:10]]
        at = np.flatnonzero(day.instrument_N == trained.panel.instruments[instrument])
        np.testing.assert_allclose(day.score_N[at], [score], atol=1e-5)
        checked += 1
    assert checked == len(valid) > 100


def test_stored_and_replayed_losses_are_the_same(trained: Trained, bars: Bars) -> None:
    """A fresh process that has the memory scores as one that computes all of it again."""
    stored, replayed = (trained.scores(bars, memory=memory) for memory in (trained.memory, None))
    for day, scores in stored.items():
        np.testing.assert_allclose(scores.score_N, replayed[day].score_N, atol=1e-6)


def test_the_memory_is_looked_at(trained: Trained, bars: Bars, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = trained.scores(bars, memory=trained.memory)
    days = list(whole)
    other = replace(trained.memory, loss_NTK=trained.memory.loss_NTK.flip(2))
    reach = trained.config.data.step_len - 1
    assert changes(whole, trained.scores(bars, memory=other)) >= set(days[:2])
    assert changes(whole, trained.scores(bars, memory=other)) <= set(days[:reach])
    monkeypatch.setattr(predictor.Recall, "_compute", lambda self, date: None)
    assert changes(whole, trained.scores(bars, memory=trained.memory)) >= set(days[6:])


def test_no_score_knows_what_comes_after(trained: Trained, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Every bar after a date is another; the scores up to it are the same, and those of soon after are not."""
    frame, date = market_frame(), "2020-11-20"
    later = frame["datetime"] > date
    rng = np.random.default_rng(1)
    for field in ("open", "high", "low", "close", "vwap"):
        frame.loc[later, field] *= np.exp(rng.normal(0, 0.1, int(later.sum())))
    frame = frame[~(later & (rng.random(len(frame)) < 0.1))]  # and some are gone
    after = write_bars(tmp_path_factory.mktemp("after") / "bars", frame)
    before = write_bars(tmp_path_factory.mktemp("before") / "bars", market_frame())
    one, two = (trained.scores(bars, memory=trained.memory) for bars in (before, after))
    assert changes(one, two)
    assert min(changes(one, two)) > date
    cut = write_bars(tmp_path_factory.mktemp("cut") / "bars", market_frame()[~later.to_numpy()])
    assert_equal(trained.scores(cut, end=date, memory=trained.memory), one)


def test_without_labels_the_stored_dates_are_known_and_no_others(trained: Trained, bars: Bars) -> None:
    """And the same goes for labels that are infinite."""
    whole = trained.panel_of(bars)
    samples = whole.segments["memory"].samples
    none = samples.take(np.zeros(len(samples), np.bool_))
    infinite = replace(samples, label_S=np.full(len(samples), np.inf, np.float32))
    complete, *others = (trained.given(with_memory(whole, each)) for each in (samples, none, infinite))
    offsets = range(trained.config.data.step_len - 1, trained.config.model.kwargs["horizon"] - 1, -1)
    seen = {True: 0, False: 0}
    for date, table in complete.items():
        for place, offset in enumerate(offsets):
            stored = bool(np.isin(whole.dates[date - offset], trained.memory.dates))
            expected = table[:, place] if stored else torch.zeros_like(table[:, place])
            assert all(torch.equal(other[date][:, place], expected) for other in others)
            seen[stored] += bool((table[:, place] != 0).any())
    assert min(seen.values()) > 10


def with_memory(panel: Panel, samples: Samples) -> Panel:
    memory = replace(panel.segments["memory"], samples=samples)
    return replace(panel, segments={**panel.segments, "memory": memory})
