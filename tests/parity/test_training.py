"""Networks, gradients and whole training epochs against Qlib's own code on identical batches."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from raybench.config import TrainConfig
from raybench.feeds.batches import Batch, EvaluationRows
from raybench.feeds.feeds import Feeds
from raybench.models import build, unflatten_alpha360
from raybench.models.interface.inputs import Inputs
from raybench.training.loop import fit
from tests.parity.conftest import RunQlib

pytestmark = pytest.mark.parity

BATCH, EPOCHS, LR = 64, 3, 1e-3
SAMPLES, VALID = 5 * BATCH + 17, 2 * BATCH + 9  # neither is whole batches: Qlib drops the tail
CASES = [("gru", 60, 6), ("lstm", 60, 6), ("gru_ts", 20, 20), ("lstm_ts", 20, 20)]


@dataclass(frozen=True)
class InOrder:
    """Batches of given samples as they come, the tail dropped."""

    x_SWF: Tensor
    label_S: Tensor

    def steps(self) -> int:
        return len(self.label_S) // BATCH

    def epoch(self, epoch: int) -> Iterator[Batch]:
        for start in range(0, self.steps() * BATCH, BATCH):
            part = slice(start, start + BATCH)
            inputs = Inputs(x_BWF=self.x_SWF[part])
            yield Batch(inputs=inputs, label_B=self.label_S[part], weight_B=None, count=float(BATCH))

    def batches(self) -> Iterator[tuple[Inputs, EvaluationRows]]:
        for start in range(0, len(self.label_S), BATCH):
            position_B = torch.arange(start, min(start + BATCH, len(self.label_S)))
            label_B = self.label_S[position_B]
            rows = EvaluationRows(position_B=position_B, date_B=position_B // 20, label_B=label_B, raw_label_B=label_B)
            yield Inputs(x_BWF=self.x_SWF[position_B]), rows


@pytest.mark.parametrize(("kind", "step_len", "num_features"), CASES)
def test_training_is_the_same(run_qlib: RunQlib, tmp_path: Path, kind: str, step_len: int, num_features: int) -> None:
    torch.manual_seed(5)
    flat = not kind.endswith("_ts")
    shape = (step_len * num_features,) if flat else (step_len, num_features)
    x_S, valid_x_S = torch.randn(SAMPLES, *shape), torch.randn(VALID, *shape)
    label_S, valid_label_S = torch.randn(SAMPLES), torch.randn(VALID)
    table = {"type": "table", "columns": [f"F{i}" for i in range(num_features)]}
    network = build({"type": kind.removesuffix("_ts")}, feature_set=table, step_len=step_len)
    torch.save(network.state_dict(), tmp_path / "state.pt")
    np.savez(
        tmp_path / "in.npz",
        x=x_S.numpy(),
        label=label_S.numpy(),
        valid_x=valid_x_S.numpy(),
        valid_label=valid_label_S.numpy(),
        features=num_features,
        batch_size=BATCH,
        epochs=EPOCHS,
        lr=LR,
    )
    run_qlib("training.py", kind, tmp_path / "in.npz", tmp_path / "state.pt", tmp_path / "out.npz")
    expected = {name: torch.from_numpy(value) for name, value in np.load(tmp_path / "out.npz").items()}

    score_B = network(x_S[:BATCH])
    torch.testing.assert_close(score_B, expected["output"], atol=1e-6, rtol=1e-5)
    torch.nn.functional.mse_loss(score_B, label_S[:BATCH]).backward()
    for name, parameter in network.named_parameters():
        torch.testing.assert_close(parameter.grad, expected[f"grad.{name}"], atol=1e-6, rtol=1e-5)
    network.zero_grad()

    as_windows = unflatten_alpha360 if flat else lambda x: x
    options = TrainConfig.model_validate({"max_epochs": EPOCHS, "batch_size": BATCH, "lr": LR})
    feeds = Feeds(train=InOrder(as_windows(x_S), label_S), valid=InOrder(as_windows(valid_x_S), valid_label_S))
    state = fit(network, feeds, options, recipe="qlib")

    losses = torch.tensor([epoch.valid_loss for epoch in state.history], dtype=torch.float64)
    torch.testing.assert_close(losses, expected["valid_loss"], atol=1e-6, rtol=1e-6)
    for name, value in state.weights.items():
        torch.testing.assert_close(value, expected[f"state.{name}"], atol=2e-5, rtol=1e-4)
