"""A checkpoint knows whose it is and whether it is whole; the newest that is whole is gone on from."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
import torch

from raybench.config import Config, load_config
from raybench.errors import DataError, RunError
from raybench.training import checkpoints
from raybench.training.checkpoints import Beginning, Identity
from raybench.training.state import EpochRecord, TrainState
from tests.small import SMALLEST


def config(*overrides: str) -> Config:
    return load_config(SMALLEST, overrides)


def identity(*overrides: str, data: str = "d" * 64, workers: int = 2, **layout: int) -> Identity:
    return Identity.of(config(*overrides), data, workers=workers, **layout)


def state(epoch: int) -> TrainState:
    record = EpochRecord(
        epoch=epoch,
        seconds=1.0,
        samples_per_second=1.0,
        train_loss=1.0,
        valid_loss=1.0,
        valid_ic=0.1,
        valid_rank_ic=0.1,
        grad_norm=1.0,
        lr=0.1,
    )
    return TrainState(epoch=epoch, weights={"w": torch.arange(3.0) * epoch}, history=[record] * epoch)


def put(run: Path, epoch: int, of: Identity | None = None) -> Path:
    folder = run / "checkpoints" / f"checkpoint_2026-01-01_00-00-0{epoch}.5"
    folder.mkdir(parents=True)
    checkpoints.write(folder, state(epoch), of or identity())
    return folder


def index(run: Path) -> None:
    (run / "checkpoints" / checkpoints.INDEX).write_text("")


def test_the_latest_epoch_is_gone_on_from(tmp_path: Path) -> None:
    last = put(tmp_path, 3)
    put(tmp_path, 2)
    found = checkpoints.newest(str(tmp_path), identity())
    assert found == Beginning(uri=str(last), epoch=3, layout={"workers": 2})
    assert torch.equal(checkpoints.read(str(last)).weights["w"], state(3).weights["w"])


def flip(folder: Path) -> None:
    data = bytearray((folder / "state.pt").read_bytes())
    data[len(data) // 2] ^= 1
    (folder / "state.pt").write_bytes(data)


DAMAGES: dict[str, Callable[[Path], object]] = {
    "bit": flip,
    "cut": lambda folder: (folder / "state.pt").write_bytes((folder / "state.pt").read_bytes()[:-99]),
    "empty": lambda folder: (folder / "state.pt").write_bytes(b""),
    "no state": lambda folder: (folder / "state.pt").unlink(),
    "no facts": lambda folder: (folder / "facts.json").unlink(),
    "cut facts": lambda folder: (folder / "facts.json").write_text('{"sha256": "'),
    "odd facts": lambda folder: (folder / "facts.json").write_text("[]"),
    "deep facts": lambda folder: (folder / "facts.json").write_text("[" * 9999),
    "latin facts": lambda folder: (folder / "facts.json").write_bytes(b'{"\xe9": 1}'),
    "folder emptied": lambda folder: [file.unlink() for file in folder.iterdir()],
    "a file": lambda folder: (shutil.rmtree(folder), folder.write_text("")),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_one_is_passed_over_and_told_of(tmp_path: Path, damage: str) -> None:
    put(tmp_path, 1)
    last = put(tmp_path, 2)
    DAMAGES[damage](last)
    index(tmp_path)
    found = checkpoints.newest(str(tmp_path), identity())
    assert found.epoch == 1
    assert len(found.notes) == 1
    assert last.name in found.notes[0]
    assert found.notes[0].endswith("going on from epoch 1, the last that is whole")


@pytest.mark.parametrize(("name", "step"), [("facts.json", 3), ("state.pt", 97)])
def test_a_bit_that_flipped_in_the_newest_is_told_or_changes_nothing(tmp_path: Path, name: str, step: int) -> None:
    put(tmp_path, 1)
    file = put(tmp_path, 2) / name
    want, content = checkpoints.newest(str(tmp_path), identity()), file.read_bytes()
    told = 0
    for at in range(0, len(content), step):
        flipped = bytearray(content)
        flipped[at] ^= 1 << at % 8
        file.write_bytes(flipped)
        found = checkpoints.newest(str(tmp_path), identity())
        told += found.epoch == 1 and len(found.notes) == 1
        assert found == want or (found.epoch == 1 and found.notes), (at, content[at - 20 : at + 20])
    assert told > 10


def test_one_that_is_gone_is_not_missed(tmp_path: Path) -> None:
    put(tmp_path, 1)
    shutil.rmtree(put(tmp_path, 2))
    found = checkpoints.newest(str(tmp_path), identity())
    assert found.epoch == 1


UNFINISHED = ["no facts", "folder emptied"]


@pytest.mark.parametrize("damage", sorted(DAMAGES.keys() - set(UNFINISHED)))
def test_none_that_is_whole_is_an_error(tmp_path: Path, damage: str) -> None:
    DAMAGES[damage](put(tmp_path, 1))
    DAMAGES[damage](put(tmp_path, 2))
    with pytest.raises(RunError, match=r"none of its 2 checkpoints is whole .*checkpoint_2026.*remove the folder"):
        checkpoints.newest(str(tmp_path), identity())


def test_the_first_one_that_was_being_written_counts_for_nothing(tmp_path: Path) -> None:
    DAMAGES["cut"](put(tmp_path, 1))
    found = checkpoints.newest(str(tmp_path), identity())
    assert found.uri is None
    assert found.notes[0].endswith("it was the first, so the training begins again")
    index(tmp_path)  # Ray Train knows of it, so it was whole once
    with pytest.raises(RunError, match="none of its 1 checkpoints is whole"):
        checkpoints.newest(str(tmp_path), identity())


@pytest.mark.parametrize("damage", UNFINISHED)
def test_writers_that_died_before_their_facts_left_no_checkpoint(tmp_path: Path, damage: str) -> None:
    for epoch in (1, 2):
        DAMAGES[damage](put(tmp_path, epoch))
    index(tmp_path)
    found = checkpoints.newest(str(tmp_path), identity())
    assert found.uri is None
    assert found.notes[0].endswith(
        "is unfinished (no facts.json); none of 2 was finished, so the training begins again"
    )
    assert len(found.notes) == 1
    checkpoints.publish(str(tmp_path), state(1), identity())
    (kept,) = (path for path in (tmp_path / "checkpoints").iterdir() if path.name != checkpoints.INDEX)
    assert checkpoints.newest(str(tmp_path), identity()) == Beginning(uri=str(kept), epoch=1, layout={"workers": 2})


def test_a_damaged_one_beside_unfinished_ones_is_an_error(tmp_path: Path) -> None:
    flip(put(tmp_path, 1))
    flip(put(tmp_path, 2))
    DAMAGES["no facts"](put(tmp_path, 3))
    with pytest.raises(RunError, match="none of its 2 checkpoints is whole"):
        checkpoints.newest(str(tmp_path), identity())


ELSEWHERE = "checkpoint_2999-01-01_00-00-00.5"


def names(run: Path) -> set[str]:
    return {path.name for path in (run / "checkpoints").iterdir()}


@pytest.mark.parametrize("zone", ["Asia/Shanghai", "UTC", "America/New_York"])
def test_the_newest_stays_whatever_clock_the_names_before_it_have(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, zone: str
) -> None:
    """They once were of local time: a training that goes on west of where it began had all it wrote deleted."""
    put(tmp_path, 1)
    put(tmp_path, 2).rename(tmp_path / "checkpoints" / ELSEWHERE)
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:
        checkpoints.publish(str(tmp_path), state(3), identity())
        before = names(tmp_path)
        assert ELSEWHERE in before
        assert len(before) == 2
        checkpoints.publish(str(tmp_path), state(4), identity())
        assert ELSEWHERE not in names(tmp_path)
        assert (before - {ELSEWHERE}) < names(tmp_path)
        assert checkpoints.newest(str(tmp_path), identity()).epoch == 4
    finally:
        monkeypatch.undo()
        time.tzset()


def test_a_name_says_when_it_was_written_in_utc(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Asia/Shanghai")
    time.tzset()
    try:
        written = datetime.strptime(checkpoints.new_name(), "checkpoint_%Y-%m-%d_%H-%M-%S.%f").replace(tzinfo=UTC)
    finally:
        monkeypatch.undo()
        time.tzset()
    assert abs((datetime.now(UTC) - written).total_seconds()) < 60


def test_what_was_given_up_goes_and_not_what_was_gone_on_from(tmp_path: Path) -> None:
    """Epoch 3 was damaged, so the training came from epoch 2: that one stays beside the new epoch 3."""
    put(tmp_path, 2)
    flip(put(tmp_path, 3))
    checkpoints.publish(str(tmp_path), state(3), identity())
    assert "checkpoint_2026-01-01_00-00-02.5" in names(tmp_path)
    assert "checkpoint_2026-01-01_00-00-03.5" not in names(tmp_path)
    assert len(names(tmp_path)) == 2


def test_one_that_cannot_be_read_goes_only_where_enough_are_left(tmp_path: Path) -> None:
    DAMAGES["cut facts"](put(tmp_path, 1))
    checkpoints.publish(str(tmp_path), state(2), identity())
    assert len(names(tmp_path)) == 2
    checkpoints.publish(str(tmp_path), state(3), identity())
    assert "checkpoint_2026-01-01_00-00-01.5" not in names(tmp_path)
    assert len(names(tmp_path)) == 2


@pytest.mark.parametrize("name", ["checkpoint_10", "checkpoint_best", "checkpoint_2026"])
def test_what_has_another_name_is_nobody_s_checkpoint(tmp_path: Path, name: str) -> None:
    (tmp_path / "checkpoints" / name).mkdir(parents=True)
    (tmp_path / "checkpoints" / name / "weights").write_bytes(b"mine")
    assert not checkpoints.any_left(str(tmp_path))
    checkpoints.publish(str(tmp_path), state(1), identity())
    checkpoints.prune(str(tmp_path), ())
    assert names(tmp_path) == {name}


def test_a_full_temporary_folder_is_told_by_its_name(tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=rf"^{tmp_path}: a checkpoint cannot be written there: .*; make room, or set TM"
    ):
        checkpoints.write(tmp_path / "gone", state(1), identity())


def test_nothing_there_is_nothing_found(tmp_path: Path) -> None:
    assert checkpoints.newest(str(tmp_path), identity()) == Beginning()
    assert checkpoints.finished_epochs(str(tmp_path)) == 0


@pytest.mark.parametrize(
    ("key", "told"),
    [
        ("train.seed=7", "train.seed is 7 there, 0 here"),
        ("train.lr=1e-2", "train.lr is 0.01 there, 0.0002 here"),
        ("model.hidden_size=8", "model.hidden_size is 8 there, 64 here"),
        ("data.step_len=5", "data.step_len is 5 there, 20 here"),
        ("recipe=qlib", 'recipe is "qlib" there, "raybench" here'),
    ],
)
def test_one_of_another_configuration_is_an_error(tmp_path: Path, key: str, told: str) -> None:
    put(tmp_path, 2, identity(key))
    with pytest.raises(RunError, match=r"of another configuration \(\w{12}, not \w{12}: .*remove the folder") as error:
        checkpoints.newest(str(tmp_path), identity())
    assert told in str(error.value)


def test_one_of_other_data_is_an_error_that_names_both(tmp_path: Path) -> None:
    put(tmp_path, 2, identity(data="e" * 64))
    with pytest.raises(RunError, match=r"of other data \(fingerprint eeeeeeeeeeee, now dddddddddddd\)"):
        checkpoints.newest(str(tmp_path), identity())


HARMLESS = ["cluster.num_workers=7", "cluster.max_failures=0", "evaluate.topk=60", "train.tensorboard=true"]


@pytest.mark.parametrize("key", [*HARMLESS, "data.bars=/elsewhere"])
def test_what_does_not_change_what_is_learned_may_differ(tmp_path: Path, key: str) -> None:
    put(tmp_path, 2, identity(key))
    assert checkpoints.newest(str(tmp_path), identity()).notes_for(identity()) == ()


def test_another_number_of_workers_is_told_of(tmp_path: Path) -> None:
    put(tmp_path, 2, identity(workers=4))
    found = checkpoints.newest(str(tmp_path), identity())
    assert "workers is 4 there, 2 here" in found.notes_for(identity())[0]


def test_other_batches_are_told_of_as_another_learning(tmp_path: Path) -> None:
    put(tmp_path, 2, identity(dates_per_batch=4))
    (note,) = checkpoints.newest(str(tmp_path), identity()).notes_for(identity(dates_per_batch=2))
    assert note.startswith("goes on with other batches than it began with (dates_per_batch is 4 there, 2 here")


def test_old_ones_are_cleared_but_those_named(tmp_path: Path) -> None:
    kept = put(tmp_path, 2).name
    put(tmp_path, 1)
    index(tmp_path)
    checkpoints.prune(str(tmp_path), {kept})
    assert {path.name for path in (tmp_path / "checkpoints").iterdir()} == {kept, checkpoints.INDEX}
