"""One new date of CSI 300 from a run that is there: the whole command against what it cannot do without.

    python benchmarks/one_date.py [--short]

By turns, each in a process of its own: ``raybench score`` of one date, and python that imports torch and makes the
same number of forward passes of a network of the same size over windows drawn at random. Also what Ray's start adds
(``--ray``), and from how many dates on it is made up for.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

from benchmarks._measure import bars_of, config_of, measured, median_of, parser, use_cores
from raybench.config import Config
from raybench.config.panel_spec import PanelSpec
from raybench.market.bars import Bars
from raybench.panel.build import build_panel
from raybench.runs.artifact import begin_run, write_run
from raybench.training.needs import KEY, needs_of
from raybench.training.network import build_model

DATE = "2020-07-31"
BARE = """
import torch
gru, last = torch.nn.GRU({features}, 64, 2, batch_first=True), torch.nn.Linear(64, 1)
with torch.inference_mode():
    last(gru(torch.randn(300, 20, {features}))[0][:, -1]).squeeze(1).numpy()
"""


def main() -> None:
    """Run both by turns and print seconds and their ratio."""
    given = parser(__doc__).parse_args()
    use_cores(given.cores)
    with measured(f"one date of CSI 300, GRU on Alpha158, {given.cores} cores") as figures:
        with bars_of(given.provider) as bars, tempfile.TemporaryDirectory() as room:
            config = config_of("gru_alpha158", bars, short=True)
            run = run_of(config, bars, str(Path(room) / "run"))
            line = [sys.executable, "-m", "raybench", "score", "--model", run, "--bars", bars.uri, "-q"]
            bare = [sys.executable, "-c", BARE.format(features=config.data.num_features)]
            seconds: list[dict[str, float]] = []
            for turn in range(given.repeats + 1):  # the first fills the caches of the file system
                one = [*line, "--start", DATE, "--end", DATE]
                seconds.append(
                    {
                        "score_s": timed([*one, "--to", f"{room}/one-{turn}"]),
                        "bare_s": timed(bare),
                        "score_on_ray_s": timed([*one, "--to", f"{room}/ray-{turn}", "--ray"]),
                    }
                )
            start = "2020-05-01" if given.short else "2015-04-01"
            for how in ("local", "ray"):
                figures[f"many_dates_{how}_s"] = timed([*line, "--start", start, "--to", f"{room}/{how}", f"--{how}"])
            figures["many_dates"] = len(list(Path(room, "local").iterdir()))
        figures |= {name: median_of(seconds[1:], name) for name in seconds[0]}
        figures["over_bare"] = figures["score_s"] / figures["bare_s"]
        figures["over_bare_wanted_at_most"] = 1.5


def run_of(config: Config, bars: Bars, out: str) -> str:
    """Make a run whose weights are as they are drawn: scoring takes as long."""
    panel = build_panel(PanelSpec.of(config), bars, None, segments=("train",))
    begin_run(out, config)
    write_run(
        out,
        config=config,
        weights=build_model(config, panel.columns).state_dict(),
        processors=panel.processors,
        history=[],
        best_epoch=0,
        began=datetime.now(UTC),
        facts={
            "data_fingerprint": panel.fingerprint,
            "model": config.model.type,
            KEY: needs_of(panel, PanelSpec.of(config), bars, None).to_manifest(),
        },
    )
    return out


def timed(command: list[str]) -> float:
    """Seconds of a command, from its start to its end."""
    began = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env={**os.environ, "RAY_ADDRESS": ""})
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
