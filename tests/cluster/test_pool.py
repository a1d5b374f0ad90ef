"""A pool of actors outlives them, and errors come out as they were raised."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest
import ray

from raybench.cluster.pool import RETRIES, spread
from raybench.errors import DataError, RaybenchError

pytestmark = pytest.mark.ray


@ray.remote(num_cpus=0)
class Worker:
    """Does what its items say."""

    def __init__(self, deaths: str = "") -> None:
        self._deaths = Path(deaths)

    def prepare(self) -> None:
        pass

    def work(self, item: Any) -> Any:
        if item == "user error":
            raise DataError("bars: not there")
        if item == "bug":
            raise ZeroDivisionError("a bug")
        if str(item).startswith("die"):
            times = int(str(item).removeprefix("die "))
            if len(list(self._deaths.iterdir())) < times:
                (self._deaths / f"{os.getpid()}").touch()
                os.kill(os.getpid(), signal.SIGKILL)
        return item


def test_every_item_is_done_once(local_ray: None) -> None:
    assert sorted(spread(Worker.remote, list(range(7)), size=3)) == list(range(7))
    assert list(spread(Worker.remote, [], size=3)) == []


def test_an_actor_that_dies_is_replaced(local_ray: None, tmp_path: Path) -> None:
    done = list(spread(lambda: Worker.remote(str(tmp_path)), ["a", f"die {RETRIES}", "b", "c"], size=1))
    assert sorted(done) == ["a", "b", "c", f"die {RETRIES}"]
    assert len(list(tmp_path.iterdir())) == RETRIES


def test_an_item_that_kills_every_actor_is_given_up(local_ray: None, tmp_path: Path) -> None:
    with pytest.raises(RaybenchError, match=f"died {RETRIES + 1} times at the same work"):
        list(spread(lambda: Worker.remote(str(tmp_path)), ["die 99"], size=1))


def test_an_error_of_the_user_comes_out_plain_and_a_bug_with_its_trace(local_ray: None) -> None:
    with pytest.raises(DataError) as caught:
        list(spread(Worker.remote, ["user error"], size=1))
    assert str(caught.value) == "bars: not there"
    with pytest.raises(ZeroDivisionError, match="in work"):
        list(spread(Worker.remote, ["bug"], size=1))


def test_an_actor_without_room_holds_nothing_up(local_ray: None) -> None:
    """Only one of the two ever starts."""
    made = []

    def start() -> Any:
        made.append(Worker.options(num_cpus=1e6 if made else 0).remote())
        return made[-1]

    assert sorted(spread(start, [1, 2, 3], size=2)) == [1, 2, 3]
    assert len(made) == 2
