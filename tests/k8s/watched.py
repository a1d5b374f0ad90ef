"""What the dashboard and the alert rules of k8s/monitoring ask Prometheus for."""

from __future__ import annotations

import json
import re
from typing import Any

import yaml

from .built import K8S

MONITORING = K8S / "monitoring"
ON_GPUS = {"ray_node_gpus_utilization"}  # exported where there is one
NOT_RAYS = {"kube_job_status_failed"}  # of kube-state-metrics


def dashboard() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((MONITORING / "dashboard.json").read_text())
    return found


def rules() -> list[dict[str, Any]]:
    groups = yaml.safe_load((MONITORING / "alerts.yaml").read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def shown() -> list[str]:
    """The expressions of the dashboard."""
    return [target["expr"] for panel in dashboard()["panels"] for target in panel["targets"]]


def names(expressions: list[str]) -> set[str]:
    """The metrics in expressions: ours and Ray's begin with ray_."""
    return {name for each in expressions for name in re.findall(r"\b(?:ray|kube)_[a-z0-9_]+", each)}


def asked_for() -> set[str]:
    """Every metric that the dashboard or a rule names."""
    return names([*shown(), *(rule["expr"] for rule in rules())])
