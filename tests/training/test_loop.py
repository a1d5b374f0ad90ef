"""The loop in one process: it learns, stops, resumes exactly, and says why it cannot go on."""

from __future__ import annotations

import copy
import dataclasses
import math

import numpy as np
import pytest
import torch

from raybench.errors import TrainingError
from raybench.models.fused.choice import fused_layers
from raybench.models.layers.recurrent import RecurrentNetwork
from raybench.models.networks.gru import GRU
from raybench.models.networks.lstm import LSTM
from raybench.panel import Segment
from raybench.training.loop import fit
from raybench.training.reporter import FunctionReporter
from raybench.training.state import TrainState, from_bytes, to_bytes
from tests.training.learnable import FEATURES, feeds, network, options, segment

TRAIN, VALID = segment(seed=0), segment(seed=1)


def losses(state: TrainState) -> list[float]:
    return [record.train_loss for record in state.history]


def without_time(state: TrainState) -> list[dict[str, float]]:
    kept = [dataclasses.asdict(record) for record in state.history]
    return [{k: v for k, v in row.items() if k not in ("seconds", "samples_per_second")} for row in kept]


def test_it_learns_the_planted_line() -> None:
    wanted = options(max_epochs=30, early_stop={"metric": "rank_ic", "patience": 30})
    state = fit(network(), feeds(TRAIN, VALID, wanted), wanted)
    assert state.history[-1].train_loss < 0.5 * state.history[0].train_loss
    assert state.best_record().valid_rank_ic > 0.6


@pytest.mark.parametrize(
    "schedule", [{"type": "constant"}, {"type": "cosine", "warmup_epochs": 1}, {"type": "plateau"}]
)
@pytest.mark.parametrize("optimizer", ["adam", "adamw", "sgd"])
def test_resumed_equals_unbroken_exactly(schedule: dict[str, object], optimizer: str) -> None:
    wanted = options(max_epochs=4, lr_schedule=schedule, optimizer=optimizer)
    saved: list[bytes] = []
    model = network(dropout=0.3)
    whole = fit(
        model,
        feeds(TRAIN, VALID, wanted),
        wanted,
        reporter=FunctionReporter(on_epoch=lambda s: saved.append(to_bytes(s))),
    )
    torch.rand(7)  # another process would have drawn other numbers by now
    resumed = fit(network(dropout=0.3), feeds(TRAIN, VALID, wanted), wanted, state=from_bytes(saved[1]))
    assert without_time(resumed) == without_time(whole)
    for name, value in whole.best_weights.items():
        assert torch.equal(value, resumed.best_weights[name])


def test_a_network_that_asks_is_told_when_it_is_trained() -> None:
    class Asks(GRU):
        fitting = False

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            told.append(self.fitting)
            return super().forward(x)

    told: list[bool] = []
    model, wanted = Asks(FEATURES, hidden_size=4, num_layers=1), options(max_epochs=1)
    fit(model, feeds(TRAIN, VALID, wanted), wanted)
    assert told
    assert all(told)
    assert not model.fitting


def test_early_stop_keeps_the_best_weights_and_needs_strict_improvement() -> None:
    wanted = options(max_epochs=50, lr=1e-12, early_stop={"metric": "rank_ic", "patience": 3})
    state = fit(network(), feeds(TRAIN, VALID, wanted), wanted)
    assert (state.best_epoch, state.epoch) == (1, 4)


def test_cosine_warms_up_and_ends_at_min_lr() -> None:
    wanted = options(max_epochs=6, lr=0.01, lr_schedule={"type": "cosine", "warmup_epochs": 2, "min_lr": 1e-4})
    state = fit(network(), feeds(TRAIN, VALID, wanted), wanted)
    rates = [record.lr for record in state.history]
    assert rates[0] < rates[1] < rates[2] == pytest.approx(0.01)
    assert rates[3] > rates[4] > rates[5] > 1e-4


def test_plateau_lowers_the_rate_when_nothing_improves() -> None:
    wanted = options(
        max_epochs=5,
        lr=1e-12,
        lr_schedule={"type": "plateau", "factor": 0.1, "patience": 1},
        early_stop={"metric": "rank_ic", "patience": 9},
    )
    state = fit(network(), feeds(TRAIN, VALID, wanted), wanted)
    assert state.history[-1].lr < state.history[0].lr


def test_accumulated_gradients_equal_whole_batches() -> None:
    whole, split = (options(accumulate_steps=k, precision="fp64") for k in (1, 4))
    runs = [fit(network("fp64"), feeds(TRAIN, VALID, o), o) for o in (whole, split)]
    assert losses(runs[0]) == pytest.approx(losses(runs[1]), rel=1e-12)


def test_qlib_recipe_drops_tails_and_averages_batches() -> None:
    wanted = options(max_epochs=1, lr=1e-12, batch_size=50)
    state = fit(network(), feeds(TRAIN, VALID, wanted, qlib=True), wanted, recipe="qlib")
    record, whole = state.history[0], len(VALID.samples) // 50
    with torch.no_grad():
        model = network().eval()
        score = model(VALID.source.gather(torch.as_tensor(VALID.samples.row_S))).numpy()
    error = np.square(score - VALID.samples.label_S)
    expected = np.mean([error[i * 50 : (i + 1) * 50].mean() for i in range(whole)])
    assert record.valid_loss == pytest.approx(expected, rel=1e-5)
    assert record.valid_loss != pytest.approx(error.mean(), rel=1e-5)
    assert record.samples_per_second * record.seconds == pytest.approx(len(TRAIN.samples) // 50 * 50)


def test_weights_change_the_loss_as_qlib_weighs() -> None:
    weight_S = np.linspace(0.0, 2.0, len(TRAIN.samples)).astype(np.float32)
    weighted = Segment(source=TRAIN.source, samples=dataclasses.replace(TRAIN.samples, weight_S=weight_S))
    wanted = options(max_epochs=1, lr=1e-12)
    state = fit(network(), feeds(weighted, VALID, wanted), wanted)
    with torch.no_grad():
        score = network().eval()(TRAIN.source.gather(torch.as_tensor(TRAIN.samples.row_S))).numpy()
    expected = (weight_S * np.square(score - TRAIN.samples.label_S)).mean()
    assert losses(state)[0] == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize(("clip", "limit"), [({"grad_clip_value": 1e-4}, 1e-4), ({"grad_clip_norm": 1e-4}, 1e-4)])
def test_clipping_bounds_the_step_and_the_norm_is_of_before(clip: dict[str, float], limit: float) -> None:
    wanted = options(max_epochs=1, optimizer="sgd", lr=1.0, batch_size=10_000, **clip)
    model = network()
    before = copy.deepcopy(model.state_dict())
    state = fit(model, feeds(TRAIN, VALID, wanted), wanted)
    assert state.history[0].grad_norm > 1e-3
    assert max(float((before[k] - v).abs().max()) for k, v in model.state_dict().items()) <= limit * 1.01


@pytest.mark.parametrize(
    ("field", "cause"), [("label_S", "labels hold NaN"), ("feature", "features hold NaN"), (None, "diverged")]
)
def test_a_loss_that_is_not_finite_stops_at_once_with_its_cause(field: str | None, cause: str) -> None:
    train = copy.deepcopy(segment())
    wanted = options(optimizer="sgd", lr=1e30 if field is None else 1e-3, grad_clip_value=None)
    if field == "label_S":
        train.samples.label_S[::5] = math.inf
    elif field == "feature":
        train.source.feature_RF[::5] = math.nan  # type: ignore[attr-defined]
    with pytest.raises(TrainingError, match=cause):
        fit(network(), feeds(train, VALID, wanted), wanted)


def test_an_empty_validation_segment_is_named() -> None:
    empty = Segment(source=VALID.source, samples=VALID.samples.take(slice(0, 0)))
    wanted = options()
    with pytest.raises(TrainingError, match=r"data\.segments\.valid"):
        fit(network(), feeds(TRAIN, empty, wanted), wanted)


def test_bf16_trains_and_keeps_float32_weights() -> None:
    wanted = options(precision="bf16")
    state = fit(network(), feeds(TRAIN, VALID, wanted), wanted)
    assert all(value.dtype is torch.float32 for value in state.best_weights.values())
    assert math.isfinite(state.history[-1].valid_loss)


def test_compiled_networks_train_alike_and_keep_their_names() -> None:
    plain, compiled = (options(compile=flag, max_epochs=2) for flag in (False, True))
    runs = [fit(network(), feeds(TRAIN, VALID, wanted), wanted) for wanted in (plain, compiled)]
    assert losses(runs[1]) == pytest.approx(losses(runs[0]), rel=1e-5)
    assert runs[1].best_weights.keys() == runs[0].best_weights.keys()


def test_recomputed_activations_change_nothing() -> None:
    wanted = options(max_epochs=2)
    chunked = network()
    chunked.checkpoint_chunks = 2  # type: ignore[assignment]
    runs = [fit(model, feeds(TRAIN, VALID, wanted), wanted) for model in (network(), chunked)]
    assert losses(runs[1]) == pytest.approx(losses(runs[0]), rel=1e-6)


@pytest.mark.parametrize("kind", [GRU, LSTM])
def test_fused_layers_train_as_torchs_do_and_go_on_where_they_were(kind: type[RecurrentNetwork]) -> None:
    wanted = options(max_epochs=3)
    saved: list[bytes] = []

    def fitted(fused: bool, state: TrainState | None = None) -> TrainState:
        torch.manual_seed(5)
        model = kind(FEATURES, hidden_size=8, num_layers=2, dropout=0.3)
        keeps = FunctionReporter(on_epoch=lambda s: saved.append(to_bytes(s)))
        with fused_layers(fused):
            return fit(model, feeds(TRAIN, VALID, wanted), wanted, state=state, reporter=keeps)

    whole = fitted(True)
    resumed = fitted(True, from_bytes(saved[0]))
    assert losses(fitted(False)) == pytest.approx(losses(whole), rel=1e-5)
    assert without_time(resumed) == without_time(whole)
    assert all(torch.equal(value, resumed.best_weights[name]) for name, value in whole.best_weights.items())


def test_a_pass_over_the_training_segment_reports_its_evaluation_loss() -> None:
    """With dropout the running mean of an epoch and the loss of its final weights differ."""
    wanted = options(max_epochs=1, lr=1e-12)
    given = feeds(TRAIN, VALID, wanted)
    again = dataclasses.replace(given, train_again=feeds(VALID, TRAIN, wanted).valid)
    without, with_pass = (fit(network(dropout=0.5), f, wanted).history[0].train_loss for f in (given, again))
    with torch.no_grad():
        score = network().eval()(TRAIN.source.gather(torch.as_tensor(TRAIN.samples.row_S))).numpy()
    assert with_pass == pytest.approx(float(np.square(score - TRAIN.samples.label_S).mean()), rel=1e-5)
    assert with_pass != pytest.approx(without, rel=1e-5)


def test_samples_without_a_label_teach_nothing_and_are_not_counted() -> None:
    missing_S = np.arange(len(TRAIN.samples)) % 3 == 0
    label_S = np.where(missing_S, np.nan, TRAIN.samples.label_S).astype(np.float32)
    partly = Segment(source=TRAIN.source, samples=dataclasses.replace(TRAIN.samples, label_S=label_S))
    wanted = options(max_epochs=1, lr=1e-12)
    with torch.no_grad():
        score = network().eval()(TRAIN.source.gather(torch.as_tensor(TRAIN.samples.row_S))).numpy()
    expected = np.square(score - TRAIN.samples.label_S)[~missing_S].mean()
    assert losses(fit(network(), feeds(partly, VALID, wanted), wanted))[0] == pytest.approx(expected, rel=1e-5)
