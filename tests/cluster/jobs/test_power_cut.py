"""The power fails at any step: what is left is what was there, or what should be, and the same command does the rest.

On a disk that keeps what was forced onto it, and of the rest what chance has it; see ``tests.forgetful``. A command
that has ended has left nothing to chance.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import stat
import sys
import tempfile
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO

import pandas as pd
import pytest

from raybench.cluster.jobs.daily import daily
from raybench.cluster.jobs.explaining import explain
from raybench.cluster.jobs.features import write_features
from raybench.cluster.jobs.scoring import score
from raybench.cluster.jobs.training import train
from raybench.config import Config
from raybench.config.daily import DailyConfig
from raybench.errors import RaybenchError, RunError
from raybench.evaluation.job import evaluate_scores
from raybench.feature_sets.table import open_features, read_manifest
from raybench.market.bars import BarBlock, open_bars
from raybench.market.importing.append import append_bars, compact_bars
from raybench.market.importing.job import import_bars
from raybench.market.sources import memory_source
from raybench.runs import artifact
from raybench.scoring import job as scoring_job
from raybench.scoring.table import date_uri, dates, read_scores
from raybench.storage import files
from raybench.storage.places import METADATA
from tests.forgetful import COINS, ForgetfulDisk, coin, power_cuts

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="/proc tells which file a handle is of"),
]
MEMORY = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # where to force a file to disk costs nothing
Look = Callable[[Path], Any]


@dataclass(frozen=True, kw_only=True)
class Job:
    """Something that is done below a folder: ``before`` it, ``work``, what ``look`` sees, and who does the rest.

    ``partly``: whether of what it sees, a mapping, each entry may be there by itself. ``alike``: what is seen is
    the same before and after. ``gone``: while it is made anew there may be nothing. ``every``: of so many steps one is
    looked at.
    """

    work: Callable[[Path], object]
    look: Look
    before: Callable[[Path], object] = lambda root: None
    again: Callable[[Path], object] | None = None
    partly: bool = False
    alike: bool = False
    gone: bool = False
    every: int = 1

    def check(self, tmp_path: Path) -> int:
        """Cut the power at each step; AssertionError if anything is torn, lost, or not to be made good."""
        root, left = tmp_path / "root", tmp_path / "left"
        root.mkdir()
        left.mkdir()
        self.before(root)
        before = self.look(root)

        def at(step: int, disk: ForgetfulDisk) -> None:
            for kind in COINS if step % self.every == 0 else ():
                disk.leave(left / f"{step}-{kind}", coin(kind))
            disk.leave(left / "last", coin("nothing"))

        steps = self._steps(root, left, at)
        after = self.look(root)
        assert after != before or self.alike
        assert self._seen(left / "last") == after, "done, and not on the disk"
        known = set()
        for place in sorted(left.iterdir()):
            if (content := _content(place)) in known:
                continue
            known.add(content)
            found = self._seen(place)
            whole = found in (before, after, *([None] if self.gone else []))
            assert whole or (self.partly and (found or {}).items() <= (after or {}).items()), f"{place.name}: torn"
            try:
                (self.again or self.work)(place)
            except RaybenchError as error:
                raise AssertionError(f"{place.name}: {error}") from error
            assert self.look(place) == after, f"{place.name}: not made good"
        assert len(known) > 3
        return steps

    def _steps(self, root: Path, left: Path, at: Callable[[int, ForgetfulDisk], None]) -> int:
        def last_anew(step: int, disk: ForgetfulDisk) -> None:
            shutil.rmtree(left / "last", ignore_errors=True)
            at(step, disk)

        return power_cuts(root, lambda: self.work(root), last_anew)

    def _seen(self, place: Path) -> Any:
        try:
            return self.look(place)
        except RaybenchError as error:
            raise AssertionError(f"{place.name}: {error}") from error


def _content(folder: Path) -> str:
    """A hash of all that is in a folder."""
    found = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        found.update(f"{path.relative_to(folder)} {stat.S_IFMT(path.stat().st_mode)}\n".encode())
        found.update(path.read_bytes() if path.is_file() else b"")
    return found.hexdigest()


def bars_in(root: Path) -> Any:
    if not (root / "bars" / METADATA).exists():
        return None
    bars = open_bars(root / "bars")
    frame = bars.block().to_frame()
    return bars.fingerprint, tuple(pd.util.hash_pandas_object(frame).tolist()), str(bars.calendar[-1])


def scores_in(root: Path) -> dict[str, bytes]:
    to = str(root / "scores")
    return {str(day): Path(date_uri(to, day)).read_bytes() for day in dates(to)}


def run_in(root: Path) -> Any:
    if not artifact.is_finished(str(root / "run")):
        return None
    run = artifact.load_run(str(root / "run"), trust=True)
    weights = {name: value.numpy().tobytes() for name, value in run.weights.items()}
    return weights, run.processors.to_json(), run.history["train_loss"].tolist(), run.config.model_dump_json()


def features_in(root: Path) -> Any:
    uri = str(root / "features")
    if (manifest := read_manifest(uri)) is None or manifest["state"] != "complete":
        return None
    return tuple(pd.util.hash_pandas_object(open_features(uri).read().to_pandas()).tolist())


def explanation_in(root: Path) -> Any:
    out = root / "explanation"
    if not (out / "explain.json").exists():
        return None
    return {path.name: len(pd.read_parquet(path)) for path in sorted(out.glob("*.parquet"))}


def evaluation_in(root: Path) -> Any:
    out = root / "evaluation"
    if not (out / "metrics.json").exists():
        return None
    return json.loads((out / "metrics.json").read_text()), len(pd.read_parquet(out / "daily.parquet"))


@pytest.fixture
def jobs(
    make_config: Callable[..., Config],
    run: str,
    market_bars: str,
    whole: str,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
) -> Mapping[str, Job]:
    """All that publish, by name, on the small market or a part of it."""
    monkeypatch.setattr(scoring_job, "WRITERS", 1)  # one step after the other
    rows = open_bars(market_bars).block().to_frame()
    rows = rows[(rows["datetime"] >= "2015-03-01") & (rows["instrument"] < "SYN0008")]
    early, late = rows[rows["datetime"] < "2015-12-01"], rows[rows["datetime"] >= "2015-12-01"]
    other = rows.assign(close=rows["close"] * 2)
    delivered = tmp_path_factory.mktemp("delivered") / "bars.parquet"
    rows.dropna(subset=["close"]).to_parquet(delivered)
    open_bars(market_bars).listed("demo").to_frame().to_csv(delivered.with_name("demo.csv"), index=False)
    config = make_config(train__max_epochs=2, train__batch_size=2_000, cluster__num_workers=1)
    days = [str(day) for day in open_bars(market_bars).calendar[-3:].astype("datetime64[D]")]

    def put(frame: pd.DataFrame, **options: Any) -> Callable[[Path], object]:
        return lambda root: import_bars(memory_source(BarBlock.from_frame(frame)), str(root / "bars"), **options)

    def add(root: Path) -> object:
        return append_bars(memory_source(BarBlock.from_frame(late)), str(root / "bars"))

    def grown(root: Path) -> None:
        put(early)(root)
        add(root)

    def learn(root: Path, *, resume: bool = False) -> object:
        return train(config, out=str(root / "run"), local=True, resume=resume)

    def judged(**options: Any) -> Callable[[Path], object]:
        return lambda root: evaluate_scores(whole, market_bars, out=str(root / "evaluation"), **options)

    def explained(root: Path) -> object:
        out = str(root / "explanation")
        return explain(run, bars=market_bars, date=days[0], out=out, repeats=1, local=True)

    def morning(root: Path) -> object:
        given = {"source": str(delivered), "universe": {"demo": str(delivered.with_name("demo.csv"))}}
        scoring = {"model": run, "to": str(root / "scores"), "start": days[0], "local": True, "min_coverage": 0.0}
        return daily(DailyConfig.model_validate({"import": given, "bars": str(root / "bars"), "score": scoring}))

    return {
        "import": Job(work=put(early), look=bars_in),
        "import --replace": Job(before=put(early), work=put(other, replace=True), look=bars_in),
        "import --append": Job(before=put(early), work=add, look=bars_in),
        "import --compact": Job(
            before=grown, work=lambda root: compact_bars(str(root / "bars")), look=bars_in, alike=True
        ),
        "features": Job(
            work=lambda root: write_features(
                market_bars, "alpha360", str(root / "features"), local=True, start=days[0]
            ),
            look=features_in,
        ),
        "score": Job(
            work=lambda root: score(run, bars=market_bars, to=str(root / "scores"), start=days[0], local=True),
            look=scores_in,
            partly=True,
        ),
        "train": Job(work=learn, again=lambda root: learn(root, resume=True), look=run_in, every=12),
        "evaluate": Job(before=judged(end=days[0]), work=judged(), look=evaluation_in, gone=True, every=9),
        "explain": Job(work=explained, look=explanation_in, every=20),
        "daily": Job(work=morning, look=scores_in, partly=True, every=4),
    }


WORKS = [
    "import",
    "import --replace",
    "import --append",
    "import --compact",
    "features",
    "score",
    "train",
    "evaluate",
    "explain",
    "daily",
]


@pytest.mark.parametrize("name", WORKS)
def test_what_a_power_cut_leaves_is_whole_and_the_rest_is_done_again(
    jobs: Mapping[str, Job], name: str, folder: Path
) -> None:
    assert jobs[name].check(folder) >= 5


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """Where many small files are written fast."""
    if MEMORY is None:
        yield tmp_path
    else:
        with tempfile.TemporaryDirectory(dir=MEMORY) as name:
            yield Path(name)


def _no_sync_of(what: Callable[[int], bool]) -> Callable[[pytest.MonkeyPatch], None]:
    def plant(patch: pytest.MonkeyPatch) -> None:
        sync = ForgetfulDisk.sync

        def some(self: ForgetfulDisk, handle: int) -> None:
            if not what(os.fstat(handle).st_mode):
                sync(self, handle)

        patch.setattr(ForgetfulDisk, "sync", some)

    return plant


def _rename_first(patch: pytest.MonkeyPatch) -> None:
    def publish(place: files.Location, write: Callable[[BinaryIO], None], staging: str, over: str | None) -> None:
        aside = os.path.join(staging, uuid.uuid4().hex)
        files.make_folders(os.path.dirname(place.path))
        with files._create(aside) as stream:
            os.replace(aside, place.path)
            files._checkpoint("write", place.uri)
            write(stream)
            stream.flush()
            os.fsync(stream.fileno())
        files._sync_folder(os.path.dirname(place.path))

    patch.setattr(files, "_publish_local", publish)


def _published_early(patch: pytest.MonkeyPatch) -> None:
    """Whatever belongs to it comes after what says that it is there."""
    publish, waiting = files.publish_file, list[Callable[[], None]]()

    def early(
        uri: files.Uri, write: Callable[[BinaryIO], None], *, staging: str | None = None, over: str | None = None
    ) -> None:
        if files.name_of(uri) != artifact.MANIFEST:
            waiting.append(lambda: publish(uri, write, staging=staging, over=over))
            return
        publish(uri, write, staging=staging, over=over)
        while waiting:
            waiting.pop()()

    patch.setattr(files, "publish_file", early)


PLANTS: Mapping[str, Callable[[pytest.MonkeyPatch], None]] = {
    "contents not synced": _no_sync_of(stat.S_ISREG),
    "folders not synced": _no_sync_of(stat.S_ISDIR),
    "renamed first": _rename_first,
    "published early": _published_early,
}
PLANTED = [(plant, name) for plant in list(PLANTS)[:3] for name in ("import --append", "score")]


@pytest.mark.parametrize(("fault", "name"), [*PLANTED, ("published early", "train")])
def test_a_fault_that_is_planted_is_found(jobs: Mapping[str, Job], fault: str, name: str, folder: Path) -> None:
    plant = PLANTS[fault]
    with pytest.MonkeyPatch.context() as patch:
        plant(patch)
        with pytest.raises(AssertionError):
            jobs[name].check(folder)


def _other_digit(data: bytes) -> bytes:
    """The digit in the middle of all that there are, with another value: what is read is a number still."""
    digits = [at for at, byte in enumerate(data) if 48 <= byte < 58]
    at = digits[len(digits) // 2] if digits else 0
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


LIES: Mapping[str, Callable[[bytes], bytes]] = {
    "empty": lambda data: b"",
    "half of zeros": lambda data: data[: len(data) // 2] + bytes(len(data) - len(data) // 2),
    "another digit": lambda data: _other_digit(data),
    "a flipped bit": lambda data: (
        data[: len(data) // 2] + bytes([data[len(data) // 2] ^ 1]) + data[len(data) // 2 + 1 :]
    ),
}


def _check_lies(job: Job, root: Path) -> None:
    """A disk that keeps something else than it was given is noticed, or what it keeps says the same."""
    job.before(root)
    job.work(root)
    after = job.look(root)
    for path in sorted(path for path in root.rglob("*") if path.is_file() and path.stat().st_size):
        data = path.read_bytes()
        for kind, lie in LIES.items():
            path.write_bytes(lie(data))
            with suppress(RaybenchError):
                assert job.look(root) == after, f"{path.relative_to(root)} with {kind} is taken for what it was"
        path.write_bytes(data)


def values_in(root: Path) -> Any:
    """What scores are read as."""
    return tuple(pd.util.hash_pandas_object(read_scores(str(root / "scores"))).tolist())


@pytest.mark.parametrize("name", ["import --append", "features", "score", "train"])
def test_a_disk_that_lies_is_noticed(jobs: Mapping[str, Job], name: str, folder: Path) -> None:
    job = jobs[name] if name != "score" else replace(jobs[name], look=values_in)
    _check_lies(job, folder)


def test_a_hash_that_is_not_compared_is_found(jobs: Mapping[str, Job], folder: Path) -> None:
    """Another seed is as good a seed: only the hash tells; where that is not asked, what is looked at does."""

    def unread(uri: str, name: str, manifest: Mapping[str, Any], *, most: int = 2**30) -> bytes:
        return files.read_bytes(files.join(uri, name))

    job, config = jobs["train"], folder / "run" / "config.yaml"
    job.work(folder)
    after, text = job.look(folder), config.read_text()
    assert "seed: 0" in text
    config.write_text(text.replace("seed: 0", "seed: 1"))
    with pytest.raises(RunError, match="differs from what"):
        job.look(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(artifact, "_read", unread)
        assert job.look(folder) != after
