"""The history of a training as TensorBoard events, for ``train.tensorboard: true``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path

from raybench.errors import RunError
from raybench.storage import files, rooms
from raybench.training.state import EpochRecord


def require_tensorboard(*, wanted: bool) -> None:
    """Raise RunError before the training, not behind it, if events are wanted and cannot be written."""
    if wanted and find_spec("tensorboard") is None:
        raise RunError(
            "train.tensorboard is true but tensorboard is not installed; "
            "pip install 'raybench[tensorboard]' or set train.tensorboard to false"
        )


def write_events(uri: str, history: Sequence[EpochRecord]) -> None:
    """Publish one event file in folder ``uri`` with a scalar per column and epoch."""
    from torch.utils.tensorboard import SummaryWriter

    with rooms.room(rooms.EVENTS) as folder:
        with SummaryWriter(folder) as writer:
            for record in history:
                for name, value in asdict(record).items():
                    if name != "epoch":
                        writer.add_scalar(name, value, record.epoch)
        for file in Path(folder).iterdir():
            files.publish_bytes(files.join(uri, file.name), file.read_bytes())
