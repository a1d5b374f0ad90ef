"""How long `raybench train` takes to its first step, and in all, against what it cannot do without.

    python benchmarks/starting.py

A made-up market of ten instruments, an epoch of one step, so that reading, training and writing the run take next to
nothing. By turns, each in a process of its own: the command in its own process (``--local``), and python that imports
torch and makes such a step; then the command through Ray Train (``--ray``), and the same python that also starts Ray.
A network that notes the time tells when the first step begins; it is looked for beside the configuration, as anybody's
own is. Medians of ``--repeats``.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks._measure import ROOT, measured, median_of, parser, use_cores
from benchmarks.one_new_date import made_up
from raybench.config import dump_config

NOTE = "BENCHMARK_FIRST_STEP"  # the environment variable that names the file that is written
NETWORK = f"""
import os
import time
from pathlib import Path

from raybench.models.networks.gru import GRU


class Watched(GRU):
    def forward(self, x):
        note = Path(os.environ["{NOTE}"])
        if self.training and len(x) > 2 and not note.exists():
            note.write_text(str(time.time()))
        return super().forward(x)
"""
STEP = """
import os, time, torch
from pathlib import Path
gru, last = torch.nn.GRU({features}, 64, 2, batch_first=True), torch.nn.Linear(64, 1)
optimizer = torch.optim.Adam([*gru.parameters(), *last.parameters()], lr=1e-3)
x = torch.randn(800, 20, {features})
Path(os.environ["{note}"]).write_text(str(time.time()))
last(gru(x)[0][:, -1]).square().mean().backward()
optimizer.step()
"""
RAY = """
import ray
ray.init(num_cpus={cores}, include_dashboard=False, log_to_driver=False)
"""
WANTED = 1.5


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
        (room / "watched.py").write_text(NETWORK)
        keys = ["train.max_epochs=1", "model.type=watched:Watched"]
        train = [sys.executable, "-m", "raybench", "train", "one.yaml", *keys, "-q"]
        step = STEP.format(features=config.data.num_features, note=NOTE)
        bare, ray = [sys.executable, "-c", step], [sys.executable, "-c", RAY.format(cores=given.cores) + step]
        turns = []
        for turn in range(given.repeats + 1):  # the first fills the caches of the file system
            local, on_ray = (f"{how}-{turn}" for how in ("local", "ray"))
            turns.append(
                timed("local", [*train, "--local", "--out", local], room)
                | timed("torch", bare, room)
                | timed("ray", [*train, "--ray", "--out", on_ray], room)
                | timed("torch_and_ray", ray, room)
            )
        figures["rows"] = bars.metadata.rows
        figures |= {what: median_of(turns[1:], what) for what in turns[0]}
        for ours, bare_one in (("local", "torch"), ("ray", "torch_and_ray")):
            for what in ("first_step_s", "s"):
                ratio = figures[f"{ours}_{what}"] / figures[f"{bare_one}_{what}"]
                figures[f"{ours}_over_{bare_one}_{what.removesuffix('_s')}"] = ratio
        figures["wanted_at_most"] = WANTED


def timed(side: str, command: list[str], room: Path) -> dict[str, float]:
    """Seconds of a command from its start to its first step, and to its end."""
    note = room / "first_step"
    note.unlink(missing_ok=True)
    began = time.time()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd=room, env=os.environ | _alone(note))
    return {f"{side}_first_step_s": float(note.read_text()) - began, f"{side}_s": time.time() - began}


def _alone(note: Path) -> dict[str, str]:
    """The environment: no cluster is joined, and what is imported here is found from another folder too."""
    return {"RAY_ADDRESS": "", NOTE: str(note), "PYTHONPATH": str(ROOT)}


if __name__ == "__main__":
    main()
