"""Jobs that the power is cut under at each step, and what is to be seen of them afterwards."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from raybench.errors import RaybenchError
from raybench.feature_sets.table import open_features, read_manifest
from raybench.market.bars import open_bars
from raybench.runs import artifact
from raybench.scoring.table import date_uri, dates
from raybench.storage.places import METADATA
from tests.forgetful import COINS, ForgetfulDisk, Left, coin, laid_out, power_cuts

MEMORY = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # where to force a file to disk costs nothing
Look = Callable[[Path], Any]
_DRAWN = re.compile(r"[0-9a-f]{32}$")
_ASIDE = re.compile(r"\.staging(/|$)|\.claim$")


@dataclass(frozen=True, kw_only=True)
class Job:
    """Something that is done below a folder: ``before`` it, ``work``, what ``look`` sees, and who does the rest.

    ``partly``: whether of what it sees, a mapping, each entry may be there by itself. ``alike``: what is seen is
    the same before and after. ``gone``: while it is made anew there may be nothing. All that a cut at any step can
    leave is looked at, and made good; ``apart``: also where nothing differs but what lies aside, which a job that
    takes seconds does without; ``some``: of so many that differ, one.
    """

    work: Callable[[Path], object]
    look: Look
    before: Callable[[Path], object] = lambda root: None
    again: Callable[[Path], object] | None = None
    partly: bool = False
    alike: bool = False
    gone: bool = False
    apart: bool = True
    some: int = 1

    def check(self, tmp_path: Path) -> int:
        """Cut the power at each step; AssertionError if anything is torn, lost, or not to be made good."""
        root, recorded = tmp_path / "root", _Recorded()
        root.mkdir()
        self.before(root)
        before = self.look(root)
        steps = power_cuts(root, lambda: self.work(root), recorded.note)
        after = self.look(root)
        assert after != before or self.alike
        assert self._seen(laid_out(recorded.last, tmp_path / "last")) == after, "done, and not on the disk"
        assert len(recorded.known) > 3
        groups: dict[Hashable, str] = {}
        for name, left in recorded.known.values():
            place = laid_out(left, tmp_path / name)
            found = self._seen(place)
            whole = found in (before, after, *([None] if self.gone else []))
            assert whole or (self.partly and (found or {}).items() <= (after or {}).items()), f"{name}: torn"
            group = content_of(left, apart=self.apart)
            if group not in groups and groups.setdefault(group, name) and len(groups) % self.some == 0:
                self._make_good(place, after)
            shutil.rmtree(place)
        assert len(groups) >= self.some
        return steps

    def _make_good(self, place: Path, after: Any) -> None:
        try:
            (self.again or self.work)(place)
        except RaybenchError as error:
            raise AssertionError(f"{place.name}: {error}") from error
        assert self.look(place) == after, f"{place.name}: not made good"

    def _seen(self, place: Path) -> Any:
        try:
            return self.look(place)
        except (RaybenchError, OSError) as error:
            raise AssertionError(f"{place.name}: {error}") from error


@dataclass
class _Recorded:
    """What a cut at any step can leave, each once, with a name; and what is on the disk for certain in the end."""

    known: dict[Hashable, tuple[str, Left]] = field(default_factory=dict)
    last: Left = field(default_factory=dict)

    def note(self, step: int, disk: ForgetfulDisk) -> None:
        now = disk.now()
        for kind in COINS:
            left = now.left(coin(kind))
            self.known.setdefault(content_of(left, apart=True), (f"{step}-{kind}", left))
        self.last = now.left(coin("nothing"))


def content_of(left: Left, *, apart: bool) -> Hashable:
    """All that there is, whatever names were drawn at random; without what lies aside unless ``apart``."""
    return frozenset(
        (_DRAWN.sub("", path), content) for path, content in left.items() if apart or not _ASIDE.search(path)
    )


def bars_in(root: Path) -> Any:
    """Bars, of whichever import."""
    if not (root / "bars" / METADATA).exists():
        return None
    bars = open_bars(root / "bars")
    frame = bars.block().to_frame()
    return bars.fingerprint, tuple(pd.util.hash_pandas_object(frame).tolist()), str(bars.calendar[-1])


def scores_in(root: Path) -> dict[str, bytes]:
    """The file of each date."""
    to = str(root / "scores")
    return {str(day): Path(date_uri(to, day)).read_bytes() for day in dates(to)}


def run_in(root: Path, name: str = "run") -> Any:
    """A finished run, without the times that are in it."""
    if not artifact.is_finished(str(root / name)):
        return None
    run = artifact.load_run(str(root / name), trust=True)
    weights = {name: value.numpy().tobytes() for name, value in run.weights.items()}
    return weights, run.processors.to_json(), run.history["train_loss"].tolist(), run.config.model_dump_json()


def features_in(root: Path) -> Any:
    """The rows of a feature table."""
    uri = str(root / "features")
    if (manifest := read_manifest(uri)) is None or manifest["state"] != "complete":
        return None
    return tuple(pd.util.hash_pandas_object(open_features(uri).read().to_pandas()).tolist())


def explanation_in(root: Path) -> Any:
    """The rows of each table."""
    out = root / "explanation"
    if not (out / "explain.json").exists():
        return None
    assert (out / "report.html").read_text().rstrip().endswith("</html>")
    return {path.name: len(pd.read_parquet(path)) for path in sorted(out.glob("*.parquet"))}


def evaluation_in(root: Path) -> Any:
    """Metrics, the number of dates in the table, the metrics behind the page, and the page but for when it was made."""
    out = root / "evaluation"
    if not (out / "metrics.json").exists():
        return None
    metrics, shown = (json.loads((out / f"{name}.json").read_text()) for name in ("metrics", "report"))
    page = re.sub(r"\d\d:\d\d UTC", "", (out / "report.html").read_text())
    return metrics, len(pd.read_parquet(out / "daily.parquet")), shown["metrics"], hash(page)


def texts_in(root: Path, folder: str) -> dict[str, str]:
    """The text of each file of a folder, wherever that is; of a page, which tells the time, only that it is whole."""
    paths = [path for path in sorted((root / folder).glob("*")) if path.is_file() and path.suffix != ".parquet"]
    found = {path.name: re.sub(rf"\S*(?=/{folder}/)", "", path.read_text()) for path in paths}
    for name in (name for name in found if name.startswith("report.")):
        whole = found[name].rstrip()
        assert whole.endswith("</html>" if name.endswith("html") else "}"), f"{name}: torn"
        found[name] = "whole"
    return found
