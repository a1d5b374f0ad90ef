"""What `raybench train` takes beside the training itself, against what it cannot do without.

    python benchmarks/starting.py

A made-up market of ten instruments, an epoch of one step, so that reading, training and writing the run take next to
nothing. By turns, each in a process of its own: the whole command in its own process (``--local``), and python that
imports torch and makes such a step; then the command through Ray Train (``--ray``), and the same python that also
starts Ray. The whole command is measured, so the way to its first step takes less. Medians of ``--repeats``.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from benchmarks._measure import measured, median_of, parser, use_cores
from benchmarks.one_date import timed
from benchmarks.one_new_date import made_up
from raybench.config import dump_config

STEP = """
import torch
gru, last = torch.nn.GRU({features}, 64, 2, batch_first=True), torch.nn.Linear(64, 1)
optimizer = torch.optim.Adam([*gru.parameters(), *last.parameters()], lr=1e-3)
last(gru(torch.randn(800, 20, {features}))[0][:, -1]).square().mean().backward()
optimizer.step()
"""
RAY = """
import ray
ray.init(num_cpus={cores}, include_dashboard=False, log_to_driver=False)
"""


def main() -> None:
    """Run all four by turns and print seconds and ratios."""
    given = parser(__doc__).parse_args()
    use_cores(given.cores)
    with (
        measured(f"start of a training, {given.cores} cores") as figures,
        tempfile.TemporaryDirectory() as name,
    ):
        room = Path(name)
        bars, config = made_up(room, 2, 10)
        (room / "one.yaml").write_text(dump_config(config))
        train = [sys.executable, "-m", "raybench", "train", str(room / "one.yaml"), "train.max_epochs=1", "-q"]
        step = STEP.format(features=config.data.num_features)
        with_ray = RAY.format(cores=given.cores)
        turns = []
        for turn in range(given.repeats + 1):  # the first fills the caches of the file system
            turns.append(
                {
                    "local_s": timed([*train, "--local", "--out", f"{name}/local-{turn}"]),
                    "torch_s": timed([sys.executable, "-c", step]),
                    "ray_s": timed([*train, "--ray", "--out", f"{name}/ray-{turn}"]),
                    "torch_and_ray_s": timed([sys.executable, "-c", with_ray + step]),
                }
            )
        figures["rows"] = bars.metadata.rows
        figures |= {what: median_of(turns[1:], what) for what in turns[0]}
        figures["local_over_torch"] = figures["local_s"] / figures["torch_s"]
        figures["ray_over_torch_and_ray"] = figures["ray_s"] / figures["torch_and_ray_s"]
        figures["wanted_at_most"] = 1.5


if __name__ == "__main__":
    main()
