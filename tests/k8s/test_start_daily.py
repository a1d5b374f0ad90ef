"""What the CronJob's pod does, against a server that answers as the Kubernetes API does."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from .api_server import Server, script, serving
from .built import built, of_kind

start_daily = script()
NOON = datetime(2026, 1, 5, 12, 0, tzinfo=UTC)
NAME = "raybench-daily-2026-01-05"
TEMPLATE: dict[str, Any] = {
    "apiVersion": "ray.io/v1",
    "kind": "RayJob",
    "metadata": {
        "name": "raybench-daily",
        "namespace": "quant",
        "uid": "template",
        "resourceVersion": "7",
        "labels": {"raybench/work": "daily"},
    },
    "spec": {"suspend": True, "entrypoint": "python -m raybench daily", "rayClusterSpec": {}},
    "status": {"jobDeploymentStatus": "Suspended"},
}
DONE = {"jobDeploymentStatus": "Complete", "jobStatus": "SUCCEEDED", "message": "Job finished successfully."}


def failed(code: int) -> dict[str, Any]:
    message = f"Job entrypoint command failed with exit code {code}, last available logs (truncated): exit code 9"
    return {"jobDeploymentStatus": "Failed", "jobStatus": "FAILED", "reason": "AppFailed", "message": message}


@pytest.fixture
def api() -> Iterator[tuple[Server, Any]]:
    server = Server(TEMPLATE)
    server.states = [{}, {"jobDeploymentStatus": "Running", "jobStatus": "RUNNING"}, DONE]
    with serving(server) as url:
        yield server, start_daily.RayJobs(url, "quant", lambda: "secret", sleep=lambda seconds: None)


def run(jobs: Any, said: Callable[[str], None] = lambda text: None) -> int:
    return int(start_daily.run(jobs, "raybench-daily", "2026-01-05", NOON, said))


def test_a_date_is_made_waited_for_and_told(api: tuple[Server, Any]) -> None:
    server, jobs = api
    said: list[str] = []
    assert run(jobs, said.append) == 0
    assert said == [
        f"creating {NAME}",
        f"{NAME}: new",
        f"{NAME}: Running RUNNING",
        f"{NAME}: SUCCEEDED Job finished successfully.",
    ]
    asked = server.jobs[NAME]["asked"]
    assert asked["spec"] == {**TEMPLATE["spec"], "suspend": False}
    assert asked["metadata"] == {
        "name": NAME,
        "namespace": "quant",
        "labels": {"raybench/work": "daily", "raybench/date": "2026-01-05"},
    }
    assert server.tokens == {"Bearer secret"}


@pytest.mark.parametrize("code", [1, 2, 3, 137])
def test_the_code_of_daily_is_passed_on(api: tuple[Server, Any], code: int) -> None:
    server, jobs = api
    server.states = [failed(code)]
    assert run(jobs) == code


def test_a_job_that_ends_otherwise_is_a_1(api: tuple[Server, Any]) -> None:
    server, jobs = api
    server.states = [{"jobDeploymentStatus": "Failed", "reason": "DeadlineExceeded", "message": "too long"}]
    said: list[str] = []
    assert run(jobs, said.append) == 1
    assert said[-1] == f"{NAME}: DeadlineExceeded too long"


def test_one_that_runs_is_waited_for(api: tuple[Server, Any]) -> None:
    """By the pod that follows one that was killed."""
    server, jobs = api
    server.put(NAME, "2026-01-05T12:00:01Z", {"jobDeploymentStatus": "Running"}, failed(3))
    assert run(jobs) == 3
    assert {method for method, _ in server.calls} == {"GET"}


def test_one_of_this_tick_that_ended_is_told_and_not_made_again(api: tuple[Server, Any]) -> None:
    server, jobs = api
    server.put(NAME, "2026-01-05T12:00:01Z", failed(3))
    assert run(jobs) == 3
    assert {method for method, _ in server.calls} == {"GET"}


@pytest.mark.parametrize("before", [DONE, failed(3)])
def test_one_of_an_earlier_tick_is_made_anew(api: tuple[Server, Any], before: dict[str, Any]) -> None:
    server, jobs = api
    server.put(NAME, "2026-01-05T10:00:01Z", before)
    assert run(jobs) == 0
    assert [method for method, _ in server.calls if method != "GET"] == ["DELETE", "POST"]
    assert server.jobs[NAME]["asked"]["spec"]["suspend"] is False


def test_one_of_an_earlier_tick_that_still_runs_is_waited_for(api: tuple[Server, Any]) -> None:
    server, jobs = api
    server.put(NAME, "2026-01-05T10:00:01Z", {"jobDeploymentStatus": "Running"}, DONE)
    assert run(jobs) == 0
    assert {method for method, _ in server.calls} == {"GET"}


def test_somebody_else_makes_it_meanwhile(api: tuple[Server, Any]) -> None:
    server, jobs = api
    make = jobs.create

    def create(job: dict[str, Any]) -> Any:
        server.put(NAME, "2026-01-05T12:00:01Z", DONE)
        return make(job)

    jobs.create = create
    assert run(jobs) == 0
    assert "asked" not in server.jobs[NAME]


def test_one_that_is_deleted_meanwhile_is_a_1(api: tuple[Server, Any]) -> None:
    server, jobs = api

    def sleep(seconds: float) -> None:
        server.jobs.pop(NAME, None)

    jobs.sleep = sleep
    assert run(jobs) == 1


def test_a_server_that_comes_back_is_waited_for(api: tuple[Server, Any]) -> None:
    server, jobs = api
    server.answers = [503, 429, 500]
    assert run(jobs) == 0


def test_a_refusal_is_told_at_once(api: tuple[Server, Any]) -> None:
    server, jobs = api
    server.answers = [403]
    with pytest.raises(start_daily.ApiError, match=r"GET rayjobs/raybench-daily was refused, 403: so it is"):
        run(jobs)
    assert len(server.calls) == 1


def test_a_server_that_stays_away_is_given_up() -> None:
    slept: list[float] = []
    jobs = start_daily.RayJobs("http://127.0.0.1:9", "quant", lambda: "secret", sleep=slept.append)
    with pytest.raises(start_daily.ApiError, match="refused"):
        run(jobs)
    assert start_daily.PATIENCE_S <= sum(slept) < start_daily.PATIENCE_S + 60


def test_without_the_one_to_copy_it_says_so(api: tuple[Server, Any]) -> None:
    server, jobs = api
    server.jobs.clear()
    with pytest.raises(start_daily.ApiError, match="no RayJob raybench-daily to copy"):
        run(jobs)


def test_dates_are_of_when_the_tick_was_due() -> None:
    zone = ZoneInfo("Asia/Shanghai")
    due = datetime(2026, 1, 5, 10, 30, tzinfo=UTC)
    name = f"raybench-daily-{int(due.timestamp()) // 60}"
    late = datetime(2026, 1, 5, 17, 0, tzinfo=UTC)  # the next day there
    assert start_daily.tick_of(name, zone, late) == ("2026-01-05", due)
    assert start_daily.tick_of("by-hand-2025-12-31", zone, late) == ("2025-12-31", late)
    assert start_daily.tick_of("by-hand", zone, late) == ("2026-01-06", late)


@pytest.fixture
def pod(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What a pod of the CronJob has in its environment."""
    given = {"KUBERNETES_SERVICE_HOST": "fd00::1", "KUBERNETES_SERVICE_PORT": "443", "NAMESPACE": "quant"}
    for name, value in {**given, "JOB": "x-2026-01-05", "TIME_ZONE": "UTC", "RAYJOB": "raybench-daily"}.items():
        monkeypatch.setenv(name, value)
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.mark.usefixtures("pod")
def test_what_kubernetes_tells_a_pod_is_used(monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    seen: list[str] = []

    class Broken:
        def __init__(self, server: str, namespace: str, token: Any, authority: str) -> None:
            seen.extend([server, namespace, authority])

        def get(self, name: str) -> None:
            raise start_daily.ApiError("the end")

    monkeypatch.setattr(start_daily, "RayJobs", Broken)
    assert start_daily.main() == 4
    assert seen == ["https://[fd00::1]:443", "quant", "/var/run/secrets/kubernetes.io/serviceaccount/ca.crt"]
    assert capsys.readouterr().out == "error: the end\n"


@pytest.mark.usefixtures("pod")
def test_sigterm_ends_it_as_process_1_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """Which has no handler by default, and would be waited for and killed."""

    class Slow:
        def __init__(self, *given: Any) -> None:
            pass

        def get(self, name: str) -> None:
            signal.raise_signal(signal.SIGTERM)
            raise AssertionError("went on")

    monkeypatch.setattr(start_daily, "RayJobs", Slow)
    with pytest.raises(SystemExit) as ended:
        start_daily.main()
    assert ended.value.code == 143


OF_THE_POD = {"metadata.namespace": "quant", "metadata.labels['batch.kubernetes.io/job-name']": NAME}


@pytest.fixture
def identity(tmp_path: Path) -> Path:
    """A certificate for this machine's loopback, with its key in the same file."""
    if shutil.which("openssl") is None:
        pytest.skip("needs openssl, which makes the certificate of the server")
    file = tmp_path / "server.pem"
    line = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=kubernetes"]
    line += ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(tmp_path / "key"), "-out", str(file)]
    subprocess.run(line, check=True, capture_output=True)
    file.write_text(file.read_text() + (tmp_path / "key").read_text())
    return file


@pytest.mark.parametrize("ended", [DONE, failed(3)])
def test_the_cron_job_s_own_command_ends_as_the_rayjob_did(
    ended: dict[str, Any], identity: Path, tmp_path: Path
) -> None:
    """As the manifest has it, in a process of its own, with what Kubernetes mounts and tells a pod."""
    manifests = built("daily")
    (cron,) = of_kind("CronJob", manifests)
    pod = cron["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    mounted = {each["name"]: each["mountPath"] for each in container["volumeMounts"]}
    (scripts,) = [one for one in of_kind("ConfigMap", manifests) if "start_daily.py" in one["data"]]
    account = tmp_path / "account"
    account.mkdir()
    (account / "token").write_text("of the account")
    shutil.copy(identity, account / "ca.crt")
    (tmp_path / "start_daily.py").write_text(scripts["data"]["start_daily.py"])
    command = [word.replace(mounted["script"], str(tmp_path)) for word in container["command"]]
    assert command[0] == "python"
    template = {
        **TEMPLATE,
        "metadata": {**TEMPLATE["metadata"], "name": of_kind("RayJob", manifests)[0]["metadata"]["name"]},
    }
    server = Server(template)
    server.states, server.now = [ended], "2026-01-05T12:00:05Z"
    with serving(server, identity) as url:
        environment = {
            each["name"]: each["value"] if "value" in each else OF_THE_POD[each["valueFrom"]["fieldRef"]["fieldPath"]]
            for each in container["env"]
        }
        environment |= {"KUBERNETES_SERVICE_HOST": "127.0.0.1", "KUBERNETES_SERVICE_PORT": url.rpartition(":")[2]}
        environment |= {"ACCOUNT": str(account), "PATH": os.environ["PATH"]}
        line = [sys.executable, *command[1:]]
        done = subprocess.run(line, env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == (0 if ended is DONE else 3), done.stdout + done.stderr
    assert done.stdout.splitlines()[0] == f"creating {NAME}"
    assert server.jobs[NAME]["asked"]["spec"]["suspend"] is False
    assert server.tokens == {"Bearer of the account"}
