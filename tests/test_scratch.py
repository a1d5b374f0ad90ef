"""A folder for caches: the user's alone, refused if it is anybody else's, and enough to compute without a home."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from raybench.scratch import private_folder, settle
from tests.nobody import UID, own_folder, run_as_nobody

KERNEL = """
import numpy as np
from raybench.feature_sets import rolling_sums
print(rolling_sums.total.stats.cache_path)
rolling_sums.total(np.ones(3, np.float32), np.array([2]), np.empty((1, 3)))
print(sum(rolling_sums.total.stats.cache_hits.values()))
"""


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


@pytest.fixture
def public() -> Iterator[Path]:
    """A folder with a short name that other users may pass through."""
    folder = Path(tempfile.mkdtemp(prefix="rb-"))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


def test_a_private_folder_is_the_users_alone(temporary: Path) -> None:
    folder = private_folder("numba")
    assert folder == str(temporary / f"raybench-{os.geteuid()}" / "numba") == private_folder("numba")
    assert {oct(path.stat().st_mode & 0o777) for path in (Path(folder), Path(folder).parent)} == {"0o700"}


def test_a_folder_that_others_could_write_is_refused(temporary: Path) -> None:
    own = temporary / f"raybench-{os.geteuid()}"
    own.mkdir()
    own.chmod(0o777)
    assert private_folder("numba") is None


def test_a_link_is_refused(temporary: Path) -> None:
    (temporary / "elsewhere").mkdir(mode=0o700)
    (temporary / f"raybench-{os.geteuid()}").symlink_to(temporary / "elsewhere")
    assert private_folder("numba") is None


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to make a folder of somebody else's")
def test_somebody_elses_folder_is_refused(temporary: Path) -> None:
    own = temporary / f"raybench-{os.geteuid()}"
    own.mkdir(mode=0o700)
    os.chown(own, UID, UID)
    assert private_folder("numba") is None


def test_no_temporary_folder_is_no_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", "/proc/nowhere")
    assert private_folder("numba") is None


def test_who_has_a_home_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    monkeypatch.delenv("MPLCONFIGDIR", raising=False)
    settle()
    assert "MPLCONFIGDIR" not in os.environ
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("env", [{"HOME": "/nonexistent"}, {"HOME": "/"}, {}], ids=["gone", "root", "unset"])
def test_kernels_are_kept_for_who_has_no_home(public: Path, env: dict[str, str]) -> None:
    folder = own_folder(public)
    given = {"TMPDIR": str(folder), **env}
    first, again = (run_as_nobody(["-c", KERNEL], cwd=folder, env=given) for _ in range(2))
    assert (first.stderr, again.stderr) == ("", "")
    place, hits = first.stdout.split()
    assert place.startswith(f"{folder}/raybench-{UID}/numba/")
    assert (hits, again.stdout.split()[1]) == ("0", "1")
    assert [path.name for path in folder.iterdir()] == [f"raybench-{UID}"]  # and no folder called ~


def test_kernels_need_no_cache_at_all(public: Path) -> None:
    folder = own_folder(public)
    os.chown(folder, 0, 0)
    code = f"import tempfile; tempfile.tempdir = {str(folder)!r}\n" + KERNEL
    done = run_as_nobody(["-c", code], cwd=Path("/"), env={"HOME": "/nonexistent"})
    assert (done.stderr, done.stdout.split()) == ("", ["None", "0"])


def test_a_set_cache_that_cannot_be_written_is_no_error(public: Path) -> None:
    folder = own_folder(public)
    env = {"HOME": "/nonexistent", "TMPDIR": str(folder), "NUMBA_CACHE_DIR": "/proc/cache"}
    done = run_as_nobody(["-c", KERNEL], cwd=folder, env=env)
    assert (done.stderr, done.stdout.startswith(str(folder))) == ("", True)
