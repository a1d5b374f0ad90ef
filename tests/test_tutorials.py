"""The pages on one network and one processor more, done from their first block to their last in a copy "
"of the source."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch

from raybench.config import load_config
from raybench.config.panel_spec import PanelSpec
from raybench.market.bars import open_bars
from raybench.market.importing.job import import_bars
from raybench.market.sources import open_source
from raybench.market.synthetic import UNIVERSE, make_market
from raybench.market.universe import universe_of_frame
from raybench.panel.build import build_panel
from raybench.runs.artifact import MANIFEST
from raybench.storage import files
from tests.pages import blocks_of, copy_of_the_source, do, shell

pytestmark = pytest.mark.slow


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A copy of the source, and in it the bars of a demo that is smaller and was not waited for."""
    tree = copy_of_the_source(tmp_path)
    market = make_market(instruments=30, years=2)
    table = str(tmp_path / "market.parquet")
    files.publish_table(table, pa.Table.from_pandas(market.bars, preserve_index=False))
    universes = {UNIVERSE: universe_of_frame(UNIVERSE, market.spans)}
    import_bars(open_source(table, "parquet"), str(tree / "demo-out" / "bars"), universes=universes)
    return tree


def done(page: str, tree: Path) -> str:
    """Do the whole page; return what its commands printed."""
    return "".join(do(block, tree) for block in blocks_of(page))


def test_one_network_more(tree: Path) -> None:
    said = done("one-network-more.md", tree)
    assert "configs/glance_alpha158.yaml is valid" in said
    assert "glance, 2,689 parameters" in said  # check, and the training
    assert re.search(r"model\.half_life +5 +rows after which", said)
    passed = re.search(r"(\d+) passed", said)
    assert passed is not None
    assert int(passed[1]) > 30  # the contract walks over it in many cases
    manifest = json.loads((tree / "runs/glance" / MANIFEST).read_text())
    assert (manifest["model"], manifest["parameters"]) == ("glance", 2_689)
    assert len(list((tree / "scores/glance").glob("date=2015-12-*/scores.parquet"))) > 15


def test_one_processor_more(tree: Path) -> None:
    said = done("one-processor-more.md", tree)
    assert "configs/gru_alpha158.yaml is valid" in said
    assert "ClipQuantile" in (tree / "runs/clipped/config.yaml").read_text()
    stored = tree / "runs/clipped/processors.json"
    step = json.loads(stored.read_text())["infer"][0]
    assert (step["class"], step["kwargs"]["quantile"]) == ("ClipQuantile", 0.02)
    np.testing.assert_array_equal(np.array(step["feature"], np.float32), quantiles(tree, ("train",)))
    assert not np.array_equal(np.array(step["feature"], np.float32), quantiles(tree, ("train", "valid")))
    again = "from raybench.processors import FittedProcessors as P; t = open('runs/clipped/processors.json').read()"
    shell(tree, f'python -c "{again}; assert P.from_json(t).to_json() == t"')
    assert len(list((tree / "scores/clipped").glob("date=2015-12-*/scores.parquet"))) > 15


def quantiles(tree: Path, segments: tuple[str, ...]) -> np.ndarray:
    """The two quantiles [2, F] of the features as they are before any processor, of the rows of some segments.

    They are read as dates to be scored: those have all rows, with a label or without.
    """
    stored = load_config(tree / "runs/clipped/config.yaml", ["data.processors.infer=[]"]).data.segments
    first, last = getattr(stored, segments[0])[0], getattr(stored, segments[-1])[1]
    overrides = [
        f"data.bars={tree / 'demo-out/bars'}",
        f"data.segments={{train: [2012-01-01, 2012-12-31], valid: [2013-01-01, 2013-12-31], test: [{first}, {last}]}}",
        "data.processors.infer=[]",
        "data.step_len=1",
    ]
    config = load_config(tree / "runs/clipped/config.yaml", overrides)
    panel = build_panel(PanelSpec.of(config), open_bars(config.data.bars), None, segments=("test",))
    segment = panel.segments["test"]
    x_SF = segment.source.gather(torch.from_numpy(segment.samples.row_S))[:, -1].numpy()
    columns = [x_S[~np.isnan(x_S)] for x_S in x_SF.T]
    return np.array([np.quantile(x_S, [0.02, 0.98], method="nearest") for x_S in columns], np.float32).T
