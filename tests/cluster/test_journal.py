"""The journal's own process stays small."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from raybench.cluster.journal import EpochBars
from raybench.progress import Advance

PROGRAM = """
import sys, raybench.cluster.journal
print(sorted({"torch", "pandas", "numba", "pyarrow"} & set(sys.modules)))
"""


def test_the_time_left_is_that_of_all_phases() -> None:
    """A pretraining has epochs of its own, beside max_epochs."""
    record = {"epoch": 3, "seconds": 60.0, "samples_per_second": 1.0, "train_loss": 1.0, "valid_loss": 1.0}
    record |= {"valid_ic": 0.0, "valid_rank_ic": 0.0}
    said: list[str] = []

    class Heard:
        @contextmanager
        def track(self, name: str, total: int | None, *, at_most: bool = False) -> Iterator[Advance]:
            yield lambda n=1, text="": said.append(text) if text else None

        def note(self, text: str) -> None: ...

    with EpochBars(Heard(), 2) as bars:
        bars.hear("step", ("epoch 3", 1, 1))
        bars.hear("epoch", {**record, "last_epoch": 7})
    assert said[0].endswith("at most 4.0 min left")


def test_the_actor_needs_nothing_heavy() -> None:
    """Ray imports the module in a process that only keeps a list; pandas or torch would multiply its size."""
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
