"""A tiny learnable problem: the label is the last feature row through a fixed line, plus noise."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from raybench.config import TrainConfig
from raybench.feeds.batches import ResidentEvaluation, ResidentFeed
from raybench.feeds.dates import DateEvaluation, DateFeed, groups_of
from raybench.feeds.feeds import Feeds
from raybench.feeds.world import SOLO, World
from raybench.models.networks.gru import GRU
from raybench.panel import Samples, Segment
from raybench.panel.windows import RowWindows, window_grid

CPU = torch.device("cpu")
WINDOW, FEATURES = 4, 3


def segment(instruments: int = 9, dates: int = 23, *, seed: int = 0) -> Segment:
    """Rows of every instrument on every date but a few, each a sample with a label."""
    rng = np.random.default_rng(seed)
    instrument_R, date_R = (a.astype(np.int32) for a in np.divmod(np.arange(instruments * dates), dates))
    keep = rng.random(len(date_R)) > 0.07
    instrument_R, date_R = instrument_R[keep], date_R[keep]
    feature_RF = rng.standard_normal((len(date_R), FEATURES)).astype(np.float32)
    noise_R = 0.3 * rng.standard_normal(len(date_R))
    label_R = (feature_RF @ np.array([1.0, -0.5, 0.25]) + noise_R).astype(np.float32)
    grid = window_grid(instrument_R, date_R, WINDOW)
    order = np.lexsort((instrument_R, date_R))
    samples = Samples(
        row_S=order.astype(np.int64),
        date_S=date_R[order],
        instrument_S=instrument_R[order],
        label_S=label_R[order],
        raw_label_S=label_R[order],
    )
    return Segment(source=RowWindows.build(feature_RF, grid, WINDOW), samples=samples)


def options(**changes: object) -> TrainConfig:
    """Return short settings whose batch size leaves an uneven tail."""
    return TrainConfig.model_validate({"max_epochs": 3, "batch_size": 37, "lr": 1e-2, **changes})


def network(precision: str = "fp32", dropout: float = 0.0) -> nn.Module:
    """Return a small seeded GRU."""
    torch.manual_seed(5)
    model = GRU(FEATURES, hidden_size=8, num_layers=2, dropout=dropout)
    return model.double() if precision == "fp64" else model


def feeds(train: Segment, valid: Segment, wanted: TrainConfig, world: World = SOLO, *, qlib: bool = False) -> Feeds:
    """Return resident feeds on the CPU."""
    return Feeds(
        train=ResidentFeed(
            train, batch_size=wanted.batch_size, seed=wanted.seed, world=world, device=CPU, drop_last=qlib
        ),
        valid=ResidentEvaluation(valid, batch_size=wanted.eval_batch_size or 64, world=world, device=CPU),
    )


class Centred(nn.Module):
    """A line through the last row, less its mean over the date: every score depends on its whole date."""

    batches = "dates"

    def __init__(self) -> None:
        super().__init__()
        self.weight_F = nn.Parameter(torch.tensor([0.1, 0.2, -0.3]))

    def forward(self, x_NWF: torch.Tensor, sizes: tuple[int, ...] | None = None) -> torch.Tensor:
        score_N = x_NWF[:, -1] @ self.weight_F
        return torch.cat([part - part.mean() for part in score_N.split(sizes or (len(score_N),))])


def date_feeds(train: Segment, valid: Segment, wanted: TrainConfig, world: World = SOLO) -> Feeds:
    """Return feeds of whole dates on the CPU."""
    groups = [groups_of(each, qlib_cuts=False) for each in (train, valid)]
    return Feeds(
        train=DateFeed(
            train,
            groups[0],
            dates_per_batch=wanted.dates_per_batch,
            seed=wanted.seed,
            world=world,
            device=CPU,
        ),
        valid=DateEvaluation(valid, groups[1], world=world, device=CPU),
    )
