"""How long things are waited for, by default and as the environment has it."""

from __future__ import annotations

import pytest

from raybench.cluster import waits
from raybench.errors import ConfigError


def test_a_cluster_of_several_nodes_gets_one_back_more_slowly() -> None:
    assert waits.node_seconds(several=False) == waits.ALONE_SECONDS < waits.node_seconds(several=True)


def test_the_environment_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(waits.NODE, "7.5")
    monkeypatch.setenv(waits.RESULT, "3")
    assert waits.node_seconds(several=False) == waits.node_seconds(several=True) == 7.5
    assert waits.result_seconds() == 3


@pytest.mark.parametrize("name", [waits.NODE, waits.RESULT])
@pytest.mark.parametrize("text", ["soon", "0", "-1", "nan", "inf"])
def test_what_is_no_number_of_seconds_is_refused(monkeypatch: pytest.MonkeyPatch, name: str, text: str) -> None:
    monkeypatch.setenv(name, text)
    with pytest.raises(ConfigError, match=f"{name} is '{text}'; want a number of seconds above 0"):
        waits.check()
