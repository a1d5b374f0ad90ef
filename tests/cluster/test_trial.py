"""What a trial tells Ray Tune, without Ray running."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from raybench.cluster import trial
from raybench.cluster.resources import Workers
from raybench.cluster.trial import TRIAL, SearchTask, run_trial
from raybench.config import Config, load_config
from raybench.config.panel_spec import PanelSpec
from raybench.search.reported import CAUSE, OWN_EPOCH
from raybench.training import checkpoints
from raybench.training.checkpoints import Identity
from raybench.training.loop import fit
from raybench.training.state import TrainState
from tests.training.learnable import feeds, options, segment
from tests.training.phase_member import PRETRAINED, SIZES, tabnet

CONFIGS = Path(__file__).parents[2] / "configs"
TRAIN, VALID = segment(seed=0), segment(seed=1)
WANTED = options(max_epochs=3)


class Lost(Exception):
    """What becomes of a trial whose process goes."""


class Tune:
    """What a trial has of Ray Tune; ``lost_at``: the report at which its process goes."""

    def __init__(self) -> None:
        self.reports: list[dict[str, Any]] = []
        self.given: Any = None
        self.lost_at: int | None = None

    def get_context(self) -> Any:
        return SimpleNamespace(get_trial_name=lambda: "0000")

    def get_checkpoint(self) -> Any:
        return self.given

    def report(self, metrics: dict[str, Any], checkpoint: Any = None) -> None:
        self.reports.append(metrics)
        if len(self.reports) == self.lost_at:
            raise Lost


@pytest.fixture
def tune(monkeypatch: pytest.MonkeyPatch) -> Tune:
    """Trials train a tiny TabNet with a pretraining, whatever their configuration says of the size."""

    def fit_rank(config: Config, columns: Any, rows: Any, *, state: Any, reporter: Any, **more: Any) -> TrainState:
        return fit(tabnet(), feeds(TRAIN, VALID, WANTED), WANTED, state=state, reporter=reporter)

    told = Tune()
    gauges = SimpleNamespace(watching=lambda made: made, show=lambda record: None)
    for name, value in {"tune": told, "fit_rank": fit_rank, "TrainingGauges": lambda out: gauges}.items():
        monkeypatch.setattr(trial, name, value)
    return told


def task(out: Path, **more: Any) -> SearchTask:
    config = load_config(CONFIGS / "gru_alpha158.yaml", {"model": {"type": "tabnet", **SIZES}, "train.max_epochs": 3})
    facts = SimpleNamespace(fingerprint="data", processors=SimpleNamespace(columns=("a", "b", "c")))
    panel: Any = SimpleNamespace(facts=facts, rows=SimpleNamespace(feeds=None))
    workers = Workers(number=1, cpus=1, gpu=False)
    return SearchTask(config=config, out=str(out), panels={PanelSpec.of(config).key: panel}, workers=workers, **more)


def space(**values: Any) -> dict[str, Any]:
    return {TRIAL: {"number": 0, "values": {key.replace("__", "."): value for key, value in values.items()}}}


def without_time(reports: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{key: value for key, value in each.items() if "second" not in key} for each in reports]


def test_a_pretraining_is_not_told_so_no_scheduler_ends_a_trial_in_it(tune: Tune, tmp_path: Path) -> None:
    run_trial(space(train__lr=0.01), task(tmp_path))
    assert [said[OWN_EPOCH] for said in tune.reports] == [1, 2, 3]
    assert [said["epoch"] for said in tune.reports] == [PRETRAINED + k for k in (1, 2, 3)]
    assert all(math.isfinite(said["metric"]) for said in tune.reports)
    assert [said["finished"] for said in tune.reports] == [False, False, True]


@pytest.mark.parametrize("lost_at", [1, 2])
def test_a_trial_that_was_lost_tells_the_same_again_and_goes_on(tune: Tune, tmp_path: Path, lost_at: int) -> None:
    run_trial(space(train__lr=0.01), task(tmp_path / "whole"))
    whole, tune.reports, tune.lost_at = tune.reports, [], lost_at
    with pytest.raises(Lost):
        run_trial(space(train__lr=0.01), task(tmp_path / "lost"))
    tune.reports, tune.lost_at = [], None
    run_trial(space(train__lr=0.01), task(tmp_path / "lost"))
    assert without_time(tune.reports) == without_time(whole)


def test_a_combination_that_is_not_valid_is_a_result_and_nothing_to_be_tried_again(tune: Tune, tmp_path: Path) -> None:
    run_trial(space(model__n_shared=0, model__n_ind=0), task(tmp_path))
    (said,) = tune.reports
    assert "may draw n_shared=0, n_ind=0" in said[CAUSE]
    assert said["done"]


class Given:
    """A checkpoint as Tune hands it over."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @contextlib.contextmanager
    def as_directory(self) -> Iterator[str]:
        yield str(self._folder)


def test_a_copy_of_a_trial_that_ended_meanwhile_says_that_it_ended(tune: Tune, tmp_path: Path) -> None:
    run_trial(space(train__lr=0.02), task(tmp_path / "best"))
    ended = tune.reports[-1]
    found = checkpoints.newest_state(str(tmp_path / "best" / "trials" / "0000"))
    assert found is not None
    state, identity = found
    (tmp_path / "given").mkdir()
    checkpoints.write(tmp_path / "given", state, identity)
    tune.reports, tune.given = [], Given(tmp_path / "given")
    run_trial(space(train__lr=0.01), task(tmp_path / "copy", hands_over=True))
    assert len(tune.reports) == 1
    assert tune.reports[0]["finished"]
    assert tune.reports[0]["metric"] == ended["metric"]
    own = checkpoints.newest_state(str(tmp_path / "copy" / "trials" / "0000"))
    assert own is not None
    assert isinstance(own[1], Identity)
    assert own[1].config["train.lr"] == 0.01
