"""What a cluster started here needs of the machine."""

from __future__ import annotations

from pathlib import Path

import pytest

from raybench.cluster import starting
from raybench.cluster.starting import LONGEST, give_token, socket_folder, unfit
from raybench.errors import ResourceError
from tests.notes import Notes


def test_a_short_folder_is_left_to_ray(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(starting, "LONGEST", 200)
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    assert socket_folder() is None


@pytest.mark.parametrize("name", ["/tmp/" + "x" * LONGEST, "/proc/none"])
def test_another_folder_is_found(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_TMPDIR", name)
    notes = Notes()
    folder = socket_folder(progress=notes)
    assert folder is not None
    assert not unfit(folder)
    assert name in notes.lines[0]


def test_no_folder_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(starting, "_unwritable", lambda folder: "cannot be written (read-only file system)")
    with pytest.raises(ResourceError, match="RAY_TMPDIR"):
        socket_folder()


@pytest.mark.parametrize("home", ["/proc/none", None])
def test_a_home_that_cannot_be_written(home: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH", "HOME"):
        monkeypatch.setenv(name, "")  # so that all is as before afterwards
        monkeypatch.delenv(name)
    monkeypatch.setattr(Path, "home", lambda: _home(home))
    give_token()
    assert len(starting.os.environ["RAY_AUTH_TOKEN"]) == 64


def test_a_home_that_can_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    give_token()
    assert "RAY_AUTH_TOKEN" not in starting.os.environ


def _home(home: str | None) -> Path:
    if home is None:
        raise RuntimeError("Could not determine home directory.")
    return Path(home)
