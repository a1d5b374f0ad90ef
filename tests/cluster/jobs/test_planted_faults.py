"""Faults in how files are published and read, planted one by one: the tests of power cuts and of damage find each.

Not forced to disk, renamed before it is written, said to be there before it is, read without its hash.
"""

from __future__ import annotations

import os
import re
import stat
import sys
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from raybench.errors import RaybenchError
from raybench.market.bars_metadata import BarsMetadata
from raybench.market.importing.target import Target
from raybench.runs import artifact
from raybench.scoring.table import read_scores, scored_dates
from raybench.storage import aside, files, folders, parquet, seal
from raybench.storage.encoding import encode_table
from raybench.storage.places import METADATA
from raybench.training import checkpoints
from raybench.training.state import TrainState, from_bytes, to_bytes
from tests.cluster.jobs.power_cut import Job
from tests.forgetful import ForgetfulDisk

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="/proc tells which file a handle is of"),
]
Plant = Callable[[pytest.MonkeyPatch], None]


def _no_sync_of(what: Callable[[int], bool]) -> Plant:
    def plant(patch: pytest.MonkeyPatch) -> None:
        sync = ForgetfulDisk.sync

        def some(self: ForgetfulDisk, handle: int) -> None:
            if not what(os.fstat(handle).st_mode):
                sync(self, handle)

        patch.setattr(ForgetfulDisk, "sync", some)

    return plant


def _rename_first(patch: pytest.MonkeyPatch) -> None:
    def publish(place: files.Location, write: Callable[[BinaryIO], None], staging: str, over: str | None) -> None:
        path = os.path.join(staging, uuid.uuid4().hex)
        folders.make_folders(os.path.dirname(place.path))
        with aside.create(path) as stream:
            os.replace(path, place.path)
            files._checkpoint("write", place.uri)
            write(stream)
            stream.flush()
            os.fsync(stream.fileno())
        folders.sync_folder(os.path.dirname(place.path))

    patch.setattr(files, "_publish_local", publish)


PLANTS: Mapping[str, Plant] = {
    "contents not synced": _no_sync_of(stat.S_ISREG),
    "folders not synced": _no_sync_of(stat.S_ISDIR),
    "renamed first": _rename_first,
}


@pytest.mark.parametrize("name", ["import --append", "score"])
@pytest.mark.parametrize("fault", PLANTS)
def test_a_fault_that_is_planted_is_found(jobs: Mapping[str, Job], fault: str, name: str, folder: Path) -> None:
    _check_that_it_is_found(jobs[name], PLANTS[fault], folder)


def _check_that_it_is_found(job: Job, plant: Plant, folder: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        plant(patch)
        with pytest.raises(AssertionError):
            job.check(folder)


MARKS = {
    "import --replace": METADATA,
    "features": ".manifest.json",
    "train": artifact.MANIFEST,
    "evaluate": "metrics.json",
    "explain": "explain.json",
    "score of two runs": "scores.parquet",
}
"""How the name ends of what says that all that belongs to it is there."""


def _published_early(mark: str) -> Plant:
    """Whatever belongs to it comes after what says that it is there."""

    def plant(patch: pytest.MonkeyPatch) -> None:
        publish, waiting = files.publish_file, list[Callable[[], None]]()

        def early(
            uri: files.Uri, write: Callable[[BinaryIO], None], *, staging: str | None = None, over: str | None = None
        ) -> None:
            if not files.name_of(uri).endswith(mark):
                waiting.append(lambda: publish(uri, write, staging=staging, over=over))
                return
            publish(uri, write, staging=staging, over=over)
            while waiting:
                waiting.pop()()

        def unasked(self: Target, metadata: BarsMetadata) -> None:
            """An import asks whether all is there: it does not here."""
            self.publish(METADATA, metadata.to_json())

        patch.setattr(files, "publish_file", early)
        patch.setattr(Target, "publish_metadata", unasked)

    return plant


@pytest.mark.parametrize("name", MARKS)
def test_what_is_said_to_be_there_too_early_is_found(jobs: Mapping[str, Job], name: str, folder: Path) -> None:
    _check_that_it_is_found(jobs[name], _published_early(MARKS[name]), folder)


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


def _values_in(root: Path) -> Any:
    """What scores are read as."""
    return tuple(pd.util.hash_pandas_object(read_scores(str(root / "scores"))).tolist())


@pytest.mark.parametrize("name", ["import --append", "features", "score", "train"])
def test_a_disk_that_lies_is_noticed(jobs: Mapping[str, Job], name: str, folder: Path) -> None:
    job = jobs[name] if name != "score" else replace(jobs[name], look=_values_in)
    _check_lies(job, folder)


@dataclass(frozen=True, kw_only=True)
class Hash:
    """A hash that tells what nothing else does: ``changed`` is as good a file, and ``unasked`` compares no hash.

    ``of``: the job that leaves the file ``at``, by a pattern; ``look``: what is read of it, else what the job looks at.
    """

    of: str
    at: str
    changed: Callable[[bytes], bytes]
    unasked: Plant
    look: Callable[[Path], Any] | None = None


def _other_rows(data: bytes) -> bytes:
    """The same bars with prices that are one higher."""
    file = pq.ParquetFile(pa.BufferReader(data))
    table = file.read()
    at = table.column_names.index("close")
    changed = table.set_column(at, table.schema.field(at), pc.add(table["close"], 1.0).cast(table["close"].type))
    groups = [file.metadata.row_group(number).num_rows for number in range(file.num_row_groups)]
    return encode_table(changed, row_groups=groups, use_dictionary=["instrument"])


def _other_weights(data: bytes) -> bytes:
    state = from_bytes(data)
    return to_bytes(replace(state, weights={name: value + 1 for name, value in state.weights.items()}))


def _checkpoint_in(root: Path) -> Any:
    """The weights of every checkpoint."""
    states = [checkpoints.read(str(path)) for path in sorted((root / "run" / "checkpoints").glob("checkpoint_*"))]
    return [{name: value.numpy().tobytes() for name, value in state.weights.items()} for state in states]


def _facts_in(root: Path) -> Any:
    return {str(day): facts.rows for day, facts in scored_dates(str(root / "scores")).items()}


def _artifact_unasked(patch: pytest.MonkeyPatch) -> None:
    def unread(uri: str, name: str, manifest: Mapping[str, Any], *, most: int = 2**30) -> bytes:
        return files.read_bytes(files.join(uri, name))

    patch.setattr(artifact, "_read", unread)


def _checkpoint_unasked(patch: pytest.MonkeyPatch) -> None:
    def unread(uri: files.Uri, facts: object) -> TrainState:
        return from_bytes(files.read_bytes(files.join(uri, checkpoints.STATE)))

    patch.setattr(checkpoints, "_state", unread)


def _parts_unasked(patch: pytest.MonkeyPatch) -> None:
    read = parquet.read_groups

    def unread(*given: Any, footer: str = "", **options: Any) -> Any:
        return read(*given, **options)

    patch.setattr(parquet, "read_groups", unread)


HASHES: Mapping[str, Hash] = {
    "of a file of a run": Hash(
        of="train",
        at="run/config.yaml",
        changed=lambda data: data.replace(b"seed: 0", b"seed: 1"),
        unasked=_artifact_unasked,
    ),
    "of a checkpoint": Hash(
        of="train",
        at="run/checkpoints/*/state.pt",
        changed=_other_weights,
        unasked=_checkpoint_unasked,
        look=_checkpoint_in,
    ),
    "of a footer, in its seal": Hash(
        of="score",
        at="scores/date=*/scores.parquet",
        changed=lambda data: re.sub(rb'(?<="rows": )\d', lambda digit: bytes([digit[0][0] ^ 1]), data),
        unasked=lambda patch: patch.setattr(seal, "is_whole", lambda before, footer, *, all_pages: True),
        look=_facts_in,
    ),
    "of a part of bars": Hash(
        of="import --append", at="bars/bars/part-*.parquet", changed=_other_rows, unasked=_parts_unasked
    ),
}


@pytest.mark.parametrize("name", HASHES)
def test_a_hash_that_is_not_compared_is_found(jobs: Mapping[str, Job], name: str, folder: Path) -> None:
    hashed = HASHES[name]
    job = jobs[hashed.of]
    look = hashed.look or job.look
    job.before(folder)
    job.work(folder)
    after, file = look(folder), next(_matching(folder, hashed.at))
    data = file.read_bytes()
    assert hashed.changed(data) != data
    file.write_bytes(hashed.changed(data))
    with pytest.raises(RaybenchError, match=r"differs from what|damaged"):
        look(folder)
    with pytest.MonkeyPatch.context() as patch:
        hashed.unasked(patch)
        assert look(folder) != after


def _matching(folder: Path, pattern: str) -> Iterator[Path]:
    return iter(sorted(folder.glob(pattern)))
