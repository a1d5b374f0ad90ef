"""In which order the fits of a bench begin, without Ray and without data."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from raybench.cluster.jobs import benching
from raybench.cluster.jobs.bench_data import opened_data
from raybench.cluster.jobs.bench_pool import BenchPool, Group
from raybench.cluster.packing import Room, Share
from raybench.cluster.resources import Capacity, Node
from raybench.comparison.asked import Asked, Bench
from raybench.comparison.fits import plan_fits
from raybench.comparison.order import Durations
from raybench.errors import DataError, RunError
from raybench.progress import SILENT
from tests.small import small_bars, small_config

HERE = Capacity(nodes=(Node(cpus=3),), cores=2)


class Pool(BenchPool):
    """One whose fits end in the order in which they began; ``log``: what was done."""

    def __init__(self, durations: Durations, panels: int) -> None:
        nothing: Any = lambda *given: None  # noqa: E731
        super().__init__(
            "out", room=Room(HERE), durations=durations, panels=panels, progress=SILENT, hear=nothing, warn=nothing
        )
        self.log: list[str] = []
        self.at_most = 0

    def _opened(self, group: Group) -> Any:
        self.log.append(f"open {group.panel_bytes}")
        self.at_most = max(self.at_most, len(self._open) + 1)
        return SimpleNamespace(waiting=list(zip(group.fits, group.shares, strict=True)), running=[])

    def _start(self, group: Any, fit: Any, share: Share) -> None:
        self.log.append(fit.name)
        group.waiting.remove((fit, share))
        group.running.append((fit, share))
        self._room.take(share)

    def _wait(self) -> None:
        for each in self._open:
            running: Any = each.running
            if running:
                _, share = running.pop(0)
                self._room.give_back(share)
                return


def group(number: int, names: Sequence[str]) -> Group:
    fits: Any = tuple(SimpleNamespace(name=name) for name in names)
    sources: Any = None
    return Group(sources=sources, fits=fits, shares=(Share(),) * len(fits), panel_bytes=number)


@pytest.fixture
def durations() -> Durations:
    known = Durations()
    for name, seconds in {"long": 100.0, "middle": 50.0, "short": 1.0}.items():
        known.took(name, seconds)
    return known


def test_the_longest_of_all_panels_come_first(durations: Durations) -> None:
    pool = Pool(durations, panels=2)
    pool.run([group(1, ["long", "short"]), group(2, ["middle"])])
    assert pool.log == ["open 1", "long", "open 2", "middle", "short"]


def test_no_more_panels_than_there_is_memory_for(durations: Durations) -> None:
    pool = Pool(durations, panels=1)
    pool.run([group(1, ["long", "short"]), group(2, ["middle"])])
    assert pool.log == ["open 1", "long", "short", "open 2", "middle"]
    assert pool.at_most == 1


def test_fits_of_one_length_fill_the_panel_at_hand_first() -> None:
    pool = Pool(Durations(), panels=2)
    pool.run([group(1, ["a", "b", "c"]), group(2, ["d"])])
    assert [word for word in pool.log if "open" not in word] == ["a", "b", "c", "d"]


def test_an_error_names_the_configuration_that_it_is_about(tmp_path: Path) -> None:
    """Of ten files nobody knows which one to change; of one everybody does."""
    bars = small_bars(tmp_path / "bars", instruments=6)
    good = small_config(bars)
    bad = small_config(bars, {"data.segments.test": ["2021-01-01", "2021-02-01"]})
    with pytest.raises(DataError, match=r"^late: data\.segments\.test .* has no date of the data"):
        opened_data(plan_fits({"good": good, "late": bad}, 1))
    with pytest.raises(DataError, match=r"^data\.segments\.test"):
        opened_data(plan_fits({"late": bad}, 1))


@pytest.mark.parametrize(("left", "taken"), [((), True), (("config.yaml",), True), (("checkpoints/a",), False)])
def test_a_bench_that_came_to_nothing_is_no_reason_to_refuse_another(
    tmp_path: Path, left: tuple[str, ...], taken: bool
) -> None:
    """As one of which a configuration was wrong: put right, it is begun in the same folder."""
    wrong, right = small_config("bars", {"data.embargo": 500}), small_config("bars")
    asked, anew = (Asked.of(plan_fits({"c": each}, 1), None, expanding=False) for each in (wrong, right))
    Bench(asked=asked).write(str(tmp_path))
    for name in left:
        file = tmp_path / "runs" / "c" / "seed-0" / name
        file.parent.mkdir(parents=True)
        file.touch()
    if taken:
        assert not benching._done(str(tmp_path), anew, resume=False)
        return
    with pytest.raises(RunError, match=r"data\.embargo is 500 there"):
        benching._done(str(tmp_path), anew, resume=False)
