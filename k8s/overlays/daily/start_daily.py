"""The scoring of one date as a RayJob: make it, wait for its end, and end as it did. What the CronJob's pod runs.

The RayJob is a copy of the suspended one called RAYJOB, and its name ends with the date: two pods make one RayJob, and
a pod that was killed is followed by one that waits for the same. A RayJob that ended before this tick of the CronJob is
of an earlier one and is made anew: `raybench daily` does nothing twice.

Exit codes: those of `raybench daily` (0, 1, 2, 3; see docs/daily.md), 1 too where the RayJob ended otherwise; 4 if the
Kubernetes API does not answer or refuses. Standard library alone, so that any Python can run it.
"""

from __future__ import annotations

import json
import os
import re
import signal
import ssl
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

ACCOUNT = Path(os.environ.get("ACCOUNT", "/var/run/secrets/kubernetes.io/serviceaccount"))  # its token
ENDED = ("Complete", "Failed", "ValidationFailed")  # jobDeploymentStatus; with retries left it is Retrying instead
NOT_REACHED = 4
PATIENCE_S = 300.0  # for an API server that does not answer
POLL_S = 10.0


class ApiError(Exception):
    """The Kubernetes API does not answer, or refuses."""


class RayJobs:
    """The RayJobs of one namespace, over the API; None is one that is not there (or, when made, that was there)."""

    def __init__(
        self,
        server: str,
        namespace: str,
        token: Callable[[], str],
        authority: str | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        context = ssl.create_default_context(cafile=authority) if server.startswith("https") else None
        handlers: list[Any] = [urllib.request.ProxyHandler({})]  # the API server is no matter for a proxy
        if context is not None:
            handlers.append(urllib.request.HTTPSHandler(context=context))
        self._opener = urllib.request.build_opener(*handlers)
        self._url = f"{server}/apis/ray.io/v1/namespaces/{namespace}/rayjobs"
        self._token = token
        self.sleep = sleep

    def get(self, name: str) -> dict[str, Any] | None:
        """Read one."""
        return self._call("GET", f"/{name}", none=404)

    def create(self, job: dict[str, Any]) -> dict[str, Any] | None:
        """Make one."""
        return self._call("POST", "", job, none=409)

    def delete(self, job: dict[str, Any]) -> None:
        """Take away this one, and not another of its name, with its cluster; return when it is gone."""
        name, uid = job["metadata"]["name"], job["metadata"]["uid"]
        wish = {"propagationPolicy": "Foreground", "preconditions": {"uid": uid}}
        self._call("DELETE", f"/{name}", wish, none=404)
        while (there := self.get(name)) is not None and there["metadata"]["uid"] == uid:
            self.sleep(POLL_S)

    def _call(self, method: str, path: str, body: Any = None, *, none: int) -> dict[str, Any] | None:
        wait, waited = 1.0, 0.0
        while True:
            try:
                return self._once(method, path, body)
            except urllib.error.HTTPError as error:
                if error.code == none:
                    return None
                why = f"{error.code}: {_message(error)}"
                if error.code < 500 and error.code != 429:
                    raise ApiError(f"{method} rayjobs{path} was refused, {why}") from None
            except OSError as error:
                why = str(getattr(error, "reason", error))
            if waited >= PATIENCE_S:
                raise ApiError(f"{method} rayjobs{path} failed for {waited:.0f} s, {why}")
            self.sleep(wait)
            waited, wait = waited + wait, min(wait * 2, 30.0)

    def _once(self, method: str, path: str, body: Any) -> dict[str, Any]:
        headers = {"Authorization": f"Bearer {self._token()}", "Content-Type": "application/json"}
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self._url + path, data, headers, method=method)
        with self._opener.open(request, timeout=30) as answer:
            found: dict[str, Any] = json.load(answer)
        return found


def _message(error: urllib.error.HTTPError) -> str:
    try:
        return str(json.load(error)["message"])
    except (ValueError, KeyError, TypeError, OSError):
        return error.reason


def tick_of(job: str, zone: ZoneInfo, now: datetime) -> tuple[str, datetime]:
    """Return the date and the moment that a Job stands for, by its name.

    A CronJob calls its Jobs NAME-MINUTES, minutes since 1970 of when they were due. One made by hand as
    NAME-2026-01-05 stands for that date, any other for today, and both for now.
    """
    if by_hand := re.search(r"-(\d{4}-\d{2}-\d{2})$", job):
        return by_hand[1], now
    if by_schedule := re.search(r"-(\d{8,9})$", job):
        due = datetime.fromtimestamp(int(by_schedule[1]) * 60, UTC)
        return str(due.astimezone(zone).date()), due
    return str(now.astimezone(zone).date()), now


def copy_of(template: dict[str, Any], date: str) -> dict[str, Any]:
    """Make the RayJob of a date out of the suspended one."""
    meta = template["metadata"]
    return {
        "apiVersion": template["apiVersion"],
        "kind": template["kind"],
        "metadata": {
            "name": f"{meta['name']}-{date}",
            "namespace": meta["namespace"],
            "labels": {**meta.get("labels", {}), "raybench/date": date},
        },
        "spec": {**template["spec"], "suspend": False},
    }


def ended(job: dict[str, Any]) -> bool:
    """Say whether nothing more comes of it."""
    return job.get("status", {}).get("jobDeploymentStatus") in ENDED


def outcome(job: dict[str, Any]) -> tuple[int, str]:
    """Return the exit code of a RayJob that ended, as far as it tells, and what it says."""
    status = job.get("status", {})
    state, said = status.get("jobStatus", ""), str(status.get("message", ""))
    told = " ".join(filter(None, [state, status.get("reason"), said]))
    if state == "SUCCEEDED":
        return 0, told
    code = re.search(r"failed with exit code (\d+)", said)  # in Ray's words
    return (int(code[1]) or 1) if code else 1, told or "it ended without a word"


def run(jobs: RayJobs, template: str, date: str, since: datetime, say: Callable[[str], None]) -> int:
    """See to it that a RayJob runs for a date, wait for its end, and return its exit code."""
    pattern = jobs.get(template)
    if pattern is None:
        raise ApiError(f"there is no RayJob {template} to copy; apply the overlay that has it")
    wanted = copy_of(pattern, date)
    name = wanted["metadata"]["name"]
    job = jobs.get(name)
    if job is not None and ended(job) and _made(job) < since:
        say(f"{name} is of {_made(job):%Y-%m-%d %H:%M} UTC, before this tick: made anew")
        jobs.delete(job)
        job = None
    if job is None:
        say(f"creating {name}")
        jobs.create(wanted)
    state = None
    while True:
        job = jobs.get(name)
        if job is None:
            say(f"{name} was deleted before its end")
            return 1
        if ended(job):
            code, told = outcome(job)
            say(f"{name}: {told}")
            return code
        status = job.get("status", {})
        now = f"{status.get('jobDeploymentStatus') or 'new'} {status.get('jobStatus') or ''}".strip()
        if now != state:
            say(f"{name}: {now}")
        state = now
        jobs.sleep(POLL_S)


def _made(job: dict[str, Any]) -> datetime:
    return datetime.fromisoformat(job["metadata"]["creationTimestamp"])


def main() -> int:
    """Do it with what Kubernetes tells a pod."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # process 1 would not hear of it otherwise
    host = os.environ["KUBERNETES_SERVICE_HOST"]
    server = f"https://{f'[{host}]' if ':' in host else host}:{os.environ['KUBERNETES_SERVICE_PORT']}"
    jobs = RayJobs(server, os.environ["NAMESPACE"], (ACCOUNT / "token").read_text, str(ACCOUNT / "ca.crt"))
    date, since = tick_of(os.environ["JOB"], ZoneInfo(os.environ["TIME_ZONE"]), datetime.now(UTC))
    try:
        return run(jobs, os.environ["RAYJOB"], date, since, lambda text: print(text, flush=True))
    except ApiError as error:
        print(f"error: {error}", flush=True)
        return NOT_REACHED


if __name__ == "__main__":
    sys.exit(main())
