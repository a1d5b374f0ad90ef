"""A place that can be written is told from one that cannot, and stays as it was."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from raybench.cluster.health import place
from raybench.cluster.health.place import place_works
from raybench.errors import DataError
from raybench.storage import files


def test_a_folder_stays_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("mine")
    found = place_works(str(tmp_path))
    assert found.ok, found.said
    assert [each.name for each in tmp_path.iterdir()] == ["mine"]


def test_folders_that_were_not_there_are_gone_again(tmp_path: Path) -> None:
    assert place_works(str(tmp_path / "a" / "b")).ok
    assert list(tmp_path.iterdir()) == []


def test_below_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    found = place_works(str(tmp_path / "file" / "folder"))
    assert not found.ok
    assert "Not a directory" in found.said
    assert [each.name for each in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("step", ["stage", "write", "sync", "rename", "remove", "discard"])
def test_each_step_may_fail(step: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def checkpoint(here: str, uri: str) -> None:
        if here == step:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(files, "_checkpoint", checkpoint)
    with contextlib.suppress(OSError):  # removing is no publishing: the system's own error
        found = place_works(str(tmp_path))
        assert not found.ok or step == "discard"
    monkeypatch.undo()


def test_a_place_without_locks_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    @contextlib.contextmanager
    def nobody_is_kept_out(uri: str, *, what: str) -> Iterator[None]:
        yield

    monkeypatch.setattr(place, "held", nobody_is_kept_out)
    found = place_works(str(tmp_path))
    assert not found.ok
    assert "two commands could write the same folder at once" in found.said


@pytest.mark.parametrize("uri", ["gs://bucket/x", "s3:/bucket/x"])
def test_an_address_of_another_kind(uri: str) -> None:
    with pytest.raises(DataError, match="want"):
        place_works(uri)
