"""Alpha360 with the processors that Qlib's handler has by default, on real bars.

The synthetic provider has what makes processors difficult; this has what makes bars difficult: suspensions of
months, mergers, a listing in the middle.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from raybench.config.panel_spec import PanelSpec
from raybench.market.bars import open_bars
from raybench.market.importing.job import import_bars
from raybench.market.sources import open_source
from raybench.market.universe import universe_of_frame
from raybench.panel.build import build_panel
from tests.parity.cases import DROP, LABEL, case, processors
from tests.parity.conftest import RunQlib
from tests.parity.test_tables import check_segment, config_of

pytestmark = [pytest.mark.parity, pytest.mark.slow, pytest.mark.shared]

FEW = (
    *("SH600000", "SH600519", "SH600705", "SH601077", "SH601398", "SZ000001", "SZ000002", "SZ000156"),
    *("SZ000651", "SZ001979", "SZ002415", "SZ002493", "SZ300059"),
)
# A few weeks: Qlib's ProcessInf takes a second per date.
SEGMENTS = {
    "train": ("2018-03-01", "2018-04-04"),
    "valid": ("2018-04-09", "2018-04-20"),
    "test": ("2018-04-23", "2018-05-11"),
}


def test_alpha360_as_the_handler_has_it(run_qlib: RunQlib, shared: Path, tmp_path: Path) -> None:
    defaults: dict[str, Any] = {
        **case(
            "alpha360",
            processors("ProcessInf", "ZScoreNorm", "Fillna"),
            [DROP, *processors("CSZScoreNorm", **LABEL)],
            step_len=60,
        ),
        "segments": SEGMENTS,
        "start": SEGMENTS["train"][0],
        "end": SEGMENTS["test"][1],
    }
    (tmp_path / "cases.json").write_text(json.dumps({"defaults": {**defaults, "universe": list(FEW)}}))
    run_qlib("tables.py", shared / "cn_data", tmp_path / "cases.json", tmp_path)

    members = universe_of_frame("few", pd.DataFrame({"instrument": FEW, "start": "2000-01-01", "end": "2030-01-01"}))
    import_bars(open_source(str(shared / "cn_data")), str(tmp_path / "bars"), universes={"few": members})
    bars = open_bars(str(tmp_path / "bars"))
    spec = PanelSpec.of(config_of({**defaults, "universe": "few"}, bars))
    panel = build_panel(spec, bars, None, segments=tuple(SEGMENTS))
    assert min(panel.counts.values()) > 50
    for segment in SEGMENTS:
        with np.load(tmp_path / "defaults" / f"{segment}.npz") as expected:
            check_segment(panel, segment, dict(expected), absolute=2e-5)
