"""The dashboard and the alert rules: they name what is exported (tests/jobs reads it off a real run), and fire."""

from __future__ import annotations

import re
import shutil
import subprocess
from itertools import combinations
from pathlib import Path

import pytest
from ray.dashboard.modules.reporter.reporter_agent import METRICS_GAUGES

from raybench.cluster.exported import GAUGES

from .watched import MONITORING, NOT_RAYS, asked_for, dashboard, names, rules, shown

OURS = {f"ray_{name}" for name in GAUGES}
RAYS = {f"ray_{name}" for name in METRICS_GAUGES}


def test_what_is_asked_for_is_exported() -> None:
    assert asked_for() - OURS - RAYS == NOT_RAYS


def test_every_gauge_is_on_the_dashboard() -> None:
    assert names(shown()) >= OURS


def test_the_page_names_them_all() -> None:
    page = (MONITORING.parents[1] / "docs" / "kubernetes.md").read_text()
    table = dict(re.findall(r"^\| `(raybench_\w+)` \| ([^|]*) \|", page, re.MULTILINE))
    assert {name: tuple(tags.strip("`").split("`, `")) for name, tags in table.items()} == {
        name: tags for name, (_, tags) in GAUGES.items()
    }


def test_series_are_told_apart_by_tags_that_they_have() -> None:
    tags = {f"ray_{name}": set(keys) for name, (_, keys) in GAUGES.items()}
    pattern = re.compile(r"by \(([^)]*)\) \((?:last_over_time\()?(\w+)")
    found = [match for each in [*shown(), *(rule["expr"] for rule in rules())] for match in pattern.findall(each)]
    assert len(found) > len(GAUGES)
    for by, name in found:
        assert name not in tags or {tag.strip() for tag in by.split(",")} <= tags[name]


def test_panels_stand_side_by_side() -> None:
    places = [panel["gridPos"] for panel in dashboard()["panels"]]
    assert len({panel["id"] for panel in dashboard()["panels"]}) == len(places)
    assert all(place["x"] + place["w"] <= 24 for place in places)
    for one, other in combinations(places, 2):
        beside = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
        assert beside or one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]


def test_rules_say_what_happened() -> None:
    for rule in rules():
        assert rule["labels"]["severity"] in {"page", "ticket"}
        assert rule["annotations"]["summary"]


def test_rules_fire_when_they_should(tmp_path: Path) -> None:
    tool = shutil.which("promtool")
    if tool is None:
        pytest.skip("needs promtool, which comes with Prometheus")
    cases = Path(__file__).with_name("alerts_fire.yaml")
    for file in (MONITORING / "alerts.yaml", cases):
        shutil.copy(file, tmp_path)
    done = subprocess.run([tool, "test", "rules", cases.name], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert all(rule["alert"] in cases.read_text() for rule in rules())
