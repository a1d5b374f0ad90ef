"""Three mornings as the CronJob of k8s/ has them, one of them killed halfway.

What is not here, Kubernetes and KubeRay, is a server that runs the command line of the RayJob when one is made.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import yaml

from raybench.market.bars import open_bars
from tests.cluster.jobs.test_daily import FIELDS, Room
from tests.cluster.scored import bytes_of, days_of
from tests.k8s.api_server import Server, script, serving
from tests.k8s.built import built, of_kind

ROOT = Path(__file__).parents[3]
ZONE = ZoneInfo("Asia/Shanghai")


class KubeRay(Server):
    """Runs what a RayJob says, here, and tells of it what KubeRay tells."""

    def __init__(self, template: dict[str, Any], store: Path) -> None:
        super().__init__(template)
        self.environment = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
        self.environment |= {
            "RAYBENCH_STORE": str(store),
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        }
        self.running: dict[str, subprocess.Popen[bytes]] = {}

    def call(self, method: str, path: str, body: Any) -> tuple[int, Any]:
        code, found = super().call(method, path, body)
        name = path.rpartition("/")[2]
        if method == "POST" and code == 201:
            assert found["spec"]["suspend"] is False
            line = ["bash", "-c", f"exec {found['spec']['entrypoint']}"]
            nobody = subprocess.DEVNULL
            self.running[found["metadata"]["name"]] = subprocess.Popen(
                line, cwd=ROOT, env=self.environment, stdout=nobody, stderr=nobody
            )
        if method == "GET" and name in self.running and code == 200:
            found["status"] = self.status(self.running[name].poll())
        return code, found

    def status(self, code: int | None) -> Mapping[str, str]:
        if code is None:
            return {"jobDeploymentStatus": "Running", "jobStatus": "RUNNING"}
        if code == 0:
            return {"jobDeploymentStatus": "Complete", "jobStatus": "SUCCEEDED"}
        message = f"Job entrypoint command failed with exit code {code}, last available logs"
        return {"jobDeploymentStatus": "Failed", "jobStatus": "FAILED", "message": message}


class Cron:
    """The controller: makes a pod for each tick, which is the script with a Job's name."""

    def __init__(self, server: KubeRay, url: str) -> None:
        self.server, self.module = server, script()
        self.jobs = self.module.RayJobs(url, "quant", lambda: "token", sleep=lambda seconds: time.sleep(0.05))
        self.said: list[str] = []

    def tick(self, day: str, hour: int) -> int:
        """Return the exit code of the pod."""
        due = datetime.fromisoformat(f"{day} {hour}:30").replace(tzinfo=ZONE).astimezone(UTC)
        self.server.now = due.isoformat()
        job = f"raybench-daily-{int(due.timestamp()) // 60}"
        date, since = self.module.tick_of(job, ZONE, datetime.now(UTC))
        assert date == day
        return int(self.module.run(self.jobs, "raybench-daily", date, since, self.said.append))


@pytest.fixture
def cron(tmp_path: Path) -> Iterator[Cron]:
    (template,) = of_kind("RayJob", built("daily"))
    template["metadata"] |= {"namespace": "quant", "uid": "template"}
    server = KubeRay(template, tmp_path)
    with serving(server) as url:
        yield Cron(server, url)
    for process in server.running.values():
        process.kill()
        process.wait()


@pytest.mark.slow
def test_three_mornings_one_of_them_killed(cron: Cron, tmp_path: Path, run: str, market_bars: str) -> None:
    room = Room(tmp_path, run, market_bars)
    rows = open_bars(market_bars).block().to_frame()[["instrument", "datetime", *FIELDS]].dropna()
    rows = rows[rows["datetime"] >= "2014-01-01"].reset_index(drop=True)
    days = sorted(rows["datetime"].dt.strftime("%Y-%m-%d").unique())
    first = days.index(next(day for day in days if day >= "2015-12-01"))
    config = yaml.safe_load((tmp_path / "daily.yaml").read_text())
    config["import"] = {"source": str(tmp_path / "delivered"), "universe": {"demo": str(tmp_path / "demo.csv")}}
    config["bars"], config["score"]["to"] = str(tmp_path / "bars"), str(tmp_path / "scores")
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "daily.yaml").write_text(yaml.safe_dump(config))
    one, two, three = days[first : first + 3]

    room.deliver(rows[rows["datetime"] <= one], "history")
    assert cron.tick(one, 18) == 0
    room.replace(rows[rows["datetime"] == two], two)
    _kill_when_bars_are_new(cron, tmp_path / "bars" / "metadata.json", f"raybench-daily-{two}")
    assert cron.tick(two, 18) == 1  # killed: Kubernetes is told
    assert cron.tick(two, 18) == 1  # a pod more of the same tick has nothing to do
    assert days_of(tmp_path / "scores") == [one]
    assert cron.tick(two, 20) == 0  # the evening's next tick does the rest
    room.replace(rows[rows["datetime"] == three], three)
    assert cron.tick(three, 18) == 0
    assert cron.tick(three, 20) == 0
    assert days_of(tmp_path / "scores") == [one, two, three]
    assert bytes_of(tmp_path / "scores") == room.expected(rows[rows["datetime"] <= three], "whole")
    assert [line for line in cron.said if "anew" in line or "creating" in line] == [
        f"creating raybench-daily-{one}",
        f"creating raybench-daily-{two}",
        f"raybench-daily-{two} is of {two} 10:30 UTC, before this tick: made anew",
        f"creating raybench-daily-{two}",
        f"creating raybench-daily-{three}",
        f"raybench-daily-{three} is of {three} 10:30 UTC, before this tick: made anew",
        f"creating raybench-daily-{three}",
    ]


def _kill_when_bars_are_new(cron: Cron, metadata: Path, name: str) -> None:
    """Kill the command of a RayJob between its two halves: the bars are appended, no date is scored."""
    before, status = metadata.read_bytes(), cron.server.status

    def look(code: int | None) -> Mapping[str, str]:
        if code is None and metadata.read_bytes() != before:
            cron.server.running[name].send_signal(signal.SIGKILL)
            cron.server.running[name].wait()
            cron.server.status = status  # type: ignore[method-assign]
        return status(code)

    cron.server.status = look  # type: ignore[method-assign]
