"""Whether a dashboard that does not answer is told of."""

from __future__ import annotations

from typing import Any

import pytest

from raybench.cluster import dashboard


@pytest.mark.parametrize("answers", [True, False])
def test_one_that_does_not_answer_is_told_of(monkeypatch: pytest.MonkeyPatch, answers: bool) -> None:
    def asked(**options: Any) -> list[Any]:
        if answers:
            return []
        raise ConnectionError

    monkeypatch.setattr(dashboard, "list_actors", asked)
    found = dashboard.without_dashboard()
    assert (found is None) == answers
    assert answers or "include_dashboard=True" in str(found)
