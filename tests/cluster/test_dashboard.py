"""Whether a dashboard that does not answer is told of."""

from __future__ import annotations

import os
from types import SimpleNamespace
from typing import Any

import pytest
import ray
from ray.train.v2._internal.constants import get_env_vars_to_propagate

from raybench.cluster import dashboard


@pytest.mark.parametrize("answers", [True, False])
def test_one_that_does_not_answer_is_told_of(monkeypatch: pytest.MonkeyPatch, answers: bool) -> None:
    def asked(**options: Any) -> list[Any]:
        if answers:
            return []
        raise ConnectionError

    monkeypatch.setattr(dashboard, "list_actors", asked)
    monkeypatch.setattr(ray, "get_runtime_context", lambda: SimpleNamespace(gcs_address="127.0.0.1:1"))
    found = dashboard.without_dashboard()
    assert (found is None) == answers
    assert answers or "include_dashboard=True" in str(found)


@pytest.mark.parametrize("before", [None, "http://1.2.3.4:8265"])
def test_this_cluster_is_asked_whatever_the_environment_says(
    monkeypatch: pytest.MonkeyPatch, before: str | None
) -> None:
    monkeypatch.setattr(ray, "get_runtime_context", lambda: SimpleNamespace(gcs_address="127.0.0.1:1"))
    if before is None:
        monkeypatch.delenv("RAY_API_SERVER_ADDRESS", raising=False)
    else:
        monkeypatch.setenv("RAY_API_SERVER_ADDRESS", before)
    with dashboard.of_this_cluster():
        assert get_env_vars_to_propagate()["RAY_API_SERVER_ADDRESS"] == "127.0.0.1:1"
    assert os.environ.get("RAY_API_SERVER_ADDRESS") == before
