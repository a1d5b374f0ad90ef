"""The history of a training as TensorBoard events, for ``train.tensorboard: true``."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from raybench.data import storage
from raybench.errors import RunError
from raybench.train.state import EpochRecord


def write_events(uri: str, history: Sequence[EpochRecord]) -> None:
    """Publish one event file in folder ``uri`` with a scalar per column and epoch."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise RunError(
            "train.tensorboard is true but tensorboard is not installed; pip install 'raybench[tensorboard]' or set it to false"
        ) from None
    with tempfile.TemporaryDirectory() as folder:
        with SummaryWriter(folder) as writer:
            for record in history:
                for name, value in asdict(record).items():
                    if name != "epoch":
                        writer.add_scalar(name, value, record.epoch)
        for file in Path(folder).iterdir():
            storage.publish_bytes(storage.join(uri, file.name), file.read_bytes())
