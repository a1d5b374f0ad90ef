"""Publishing and listing files, local and remote."""

from __future__ import annotations

import errno
import os
import resource
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.fs as pafs
import pytest

from raybench.errors import DataError
from raybench.storage import claims, files, folders, parquet, s3_client


class Killed(BaseException):
    """Stands for the process that dies: nothing catches it."""


def fail_at(step: int) -> Callable[[str, str], None]:
    """A checkpoint that lets ``step`` calls pass and fails every one after."""
    passed = 0

    def checkpoint(name: str, uri: str) -> None:
        nonlocal passed
        if passed == step:
            raise Killed(name)
        passed += 1

    return checkpoint


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """An address on a file system that is not local, where a file appears when it is closed."""
    from fsspec.implementations.dirfs import DirFileSystem
    from fsspec.implementations.memory import MemoryFileSystem

    memory = MemoryFileSystem()
    memory.store.clear()
    memory.pseudo_dirs[:] = [""]
    remote = pafs.PyFileSystem(pafs.FSSpecHandler(DirFileSystem("/s3", memory)))
    monkeypatch.setattr(s3_client, "file_system", lambda endpoint, region: remote)
    yield "s3://bucket/data"
    memory.store.clear()


@pytest.mark.parametrize("step", range(6))
def test_a_file_is_old_or_new_whichever_step_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    file = tmp_path / "folder" / "file"
    files.publish_bytes(file, b"old")
    monkeypatch.setattr(files, "_checkpoint", fail_at(step))
    if step < 5:
        with pytest.raises(Killed):
            files.publish_bytes(file, b"new, and longer")
    else:
        files.publish_bytes(file, b"new, and longer")
    assert file.read_bytes() == (b"old" if step < 4 else b"new, and longer")
    assert os.listdir(file.parent) == ["file"]


def test_a_writer_that_fails_leaves_nothing(tmp_path: Path) -> None:
    def write(stream: object) -> None:
        stream.write(b"half")  # type: ignore[attr-defined]
        raise RuntimeError("no more")

    with pytest.raises(RuntimeError):
        files.publish_file(tmp_path / "folder" / "file", write)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_a_full_disk_is_one_line_and_leaves_the_old_file(tmp_path: Path) -> None:
    """The system refuses to let the file grow, as it does where there is no room."""
    file = tmp_path / "folder" / "file"
    files.publish_bytes(file, b"old")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, limits[1]))
    try:
        with pytest.raises(DataError, match="cannot be written: File too large") as caught:
            files.publish_bytes(file, bytes(20_000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert "\n" not in str(caught.value)
    assert file.read_bytes() == b"old"
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["file"]


def test_publishing_writes_aside_not_among_the_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[list[str]] = []

    def checkpoint(name: str, uri: str) -> None:
        seen.append(sorted(str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*") if p.is_file()))

    monkeypatch.setattr(files, "_checkpoint", checkpoint)
    files.publish_bytes(tmp_path / "data" / "x.parquet", b"1")
    during = {name for names in seen[:-1] for name in names}
    assert during
    assert all(name.startswith("data.staging/") for name in during)
    assert os.listdir(tmp_path) == ["data"]


@pytest.fixture
def synced(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, set[str]]]:
    """Every folder that was forced to disk, with the folders that were in it then; made anew by this process."""
    done: list[tuple[str, set[str]]] = []
    fsync = os.fsync

    def record(handle: int) -> None:
        path = os.readlink(f"/proc/self/fd/{handle}")
        if os.path.isdir(path):
            done.append((path, {entry.name for entry in os.scandir(path) if entry.is_dir()}))
        fsync(handle)

    monkeypatch.setattr(folders, "_met", set())
    monkeypatch.setattr(os, "fsync", record)
    return done


def assert_all_on_disk(root: Path, synced: list[tuple[str, set[str]]]) -> None:
    for folder in (path for path in root.rglob("*") if path.is_dir()):
        assert any(where == str(folder.parent) and folder.name in names for where, names in synced), folder


def put_beside(place: Path) -> None:
    files.publish_bytes(place / "a" / "b" / "file", b"x")


def put_in_staging_of_its_own(place: Path) -> None:
    files.publish_bytes(place / "b" / "file", b"x", staging=str(place / ".staging"))


def put_below_a_claim(place: Path) -> None:
    with claims.held(place / "a" / "run", what="train"):
        files.publish_bytes(place / "a" / "run" / "file", b"x")


def put_where_somebody_made_a_folder(place: Path) -> None:
    place.mkdir()
    files.publish_bytes(place / "file", b"x")


@pytest.mark.parametrize(
    "put", [put_beside, put_in_staging_of_its_own, put_below_a_claim, put_where_somebody_made_a_folder]
)
def test_every_folder_on_the_way_is_on_disk_in_the_one_above(
    tmp_path: Path, synced: list[tuple[str, set[str]]], put: Callable[[Path], None]
) -> None:
    put(tmp_path / "new")
    assert (tmp_path / "new").is_dir()
    assert_all_on_disk(tmp_path, synced)


def test_a_folder_that_was_taken_away_and_made_again_is_on_disk(
    tmp_path: Path, synced: list[tuple[str, set[str]]]
) -> None:
    put_beside(tmp_path / "new")
    files.discard(tmp_path / "new")
    synced.clear()
    put_beside(tmp_path / "new")
    assert_all_on_disk(tmp_path, synced)


def test_remote_puts_one_whole_object(s3: str, monkeypatch: pytest.MonkeyPatch) -> None:
    steps: list[str] = []
    monkeypatch.setattr(files, "_checkpoint", lambda name, uri: steps.append(name))
    files.publish_bytes(s3 + "/a/file", b"content")
    assert steps == ["put"]
    assert files.read_bytes(s3 + "/a/file") == b"content"
    assert files.list_files(s3) == [s3 + "/a/file"]
    assert files.exists(s3 + "/a")
    assert not files.exists(s3 + "/b")
    files.remove(s3 + "/a/file")
    assert files.sizes(s3) == {}


def test_a_writer_that_fails_puts_nothing_remote(s3: str) -> None:
    def write(stream: object) -> None:
        stream.write(b"half")  # type: ignore[attr-defined]
        raise RuntimeError("no more")

    with pytest.raises(RuntimeError):
        files.publish_file(s3 + "/file", write)
    assert files.sizes(s3) == {}


def test_equal_tables_give_equal_bytes_and_metadata_comes_back(tmp_path: Path) -> None:
    table = pa.table({"a": pa.array(range(10), pa.int64())})
    for name in ("x", "y"):
        files.publish_table(tmp_path / name, table, metadata={"key": "value"}, row_groups=[4, 6])
    assert (tmp_path / "x").read_bytes() == (tmp_path / "y").read_bytes()
    assert parquet.read_metadata(tmp_path / "x") == {"key": "value"}
    assert parquet.read_table([tmp_path / "x"])["a"].to_pylist() == list(range(10))


def test_listing_is_sorted_and_leaves_hidden_files_out(tmp_path: Path) -> None:
    for name in ("b.csv", "a.csv", "c.txt", ".hidden.csv", "_SUCCESS.csv", "deep/d.csv", ".git/e.csv"):
        files.publish_bytes(tmp_path / name, b"")
    found = [name.removeprefix(f"{tmp_path}/") for name in files.list_files(tmp_path, ".csv")]
    assert found == ["a.csv", "b.csv", "deep/d.csv"]
    assert files.children(tmp_path)[-1] == "deep"


@pytest.mark.parametrize(
    ("uri", "says"),
    [("gs://bucket/x", "gs://"), ("s3://", "bucket"), ("nowhere/file", "no such file")],
)
def test_addresses_that_cannot_be_read(uri: str, says: str) -> None:
    with pytest.raises(DataError, match=says):
        files.read_bytes(uri)


@pytest.mark.parametrize("packed", [".gz", ".zst", ".bz2", ".lz4"])
@pytest.mark.parametrize("what", ["cut", "changed", "other"])
def test_a_packed_file_that_is_damaged_is_one_line(tmp_path: Path, packed: str, what: str) -> None:
    place = str(tmp_path / f"a.csv{packed}")
    with pa.output_stream(
        place, compression={".gz": "gzip", ".zst": "zstd", ".bz2": "bz2", ".lz4": "lz4"}[packed]
    ) as to:
        to.write(b"".join(b"%d,%d\n" % (k, k * k) for k in range(20_000)))
    data = Path(place).read_bytes()
    half = len(data) // 2
    changed = {"cut": data[:half], "changed": data[:half] + b"\0" * 64 + data[half + 64 :], "other": b"a,b\n1,2\n" * 9}
    Path(place).write_bytes(changed[what])
    with (
        pytest.raises(DataError, match=rf"a\.csv\{packed}: cannot be unpacked as "),
        files.open_stream(place) as stream,
    ):
        stream.read()


@pytest.mark.parametrize("data", [b"\xff\xfe2\x00", b"2020-01-0\xb1\n"])
def test_what_is_no_text_is_one_line(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "day.txt").write_bytes(data)
    with pytest.raises(DataError, match=r"day\.txt: is damaged, or is no text in UTF-8 \(byte \d+\)"):
        files.read_text(tmp_path / "day.txt")
    (tmp_path / "day.txt").write_bytes(b"\xef\xbb\xbf2020-01-01\n")
    assert files.read_text(tmp_path / "day.txt") == "2020-01-01\n"


@pytest.mark.parametrize("delete", [files.remove, files.discard])
def test_what_cannot_be_removed_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, delete: Callable[[str], None]
) -> None:
    """What is not there is no error, nor is what goes in this moment."""

    class Refusing:
        def delete_file(self, path: str) -> None:
            raise PermissionError(errno.EACCES, "no")

        delete_dir = delete_file

    delete(str(tmp_path / "none"))
    place = files.Location(fs=Refusing(), path="b/k", uri="s3://b/k")
    monkeypatch.setattr(files, "open_location", lambda uri: place)
    with pytest.raises(DataError, match=r"s3://b/k: "):
        delete("s3://b/k")
    monkeypatch.setattr(files.Location, "local", True)
    with pytest.raises(DataError, match=r"s3://b/k: cannot be removed: Permission denied; "):
        delete("s3://b/k")


@pytest.mark.parametrize(
    "text", ["s3:/bucket/x", "s3//bucket/x", "s3:bucket/x", "S3:/bucket/x", "s3a:/bucket/x", " s3:/bucket/x"]
)
def test_a_mistyped_address_is_no_folder_of_this_machine(text: str) -> None:
    with pytest.raises(DataError, match=r"want s3://bucket/x "):
        files.open_location(text)


@pytest.mark.parametrize("text", ["gs//bucket/x", "file//tmp/x", "GS:/bucket/x", " az//x"])
def test_so_is_one_of_another_kind(text: str) -> None:
    with pytest.raises(DataError, match=r"is no address; want a local path or s3://bucket/key "):
        files.open_location(text)


@pytest.mark.parametrize("text", ["s3", "s3/bucket", "./s3:/bucket", "s3_data/x", "a:b", "gs/x", "file/x", "files//x"])
def test_names_like_an_address_are_still_paths(text: str) -> None:
    assert files.open_location(text).local


def test_addresses_join_and_normalise(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert files.join("s3://b/k/", "/x", "y") == "s3://b/k/x/y"
    assert files.join("/", "x") == "/x"
    assert files.sibling("/a/b/", ".manifest.json") == "/a/b.manifest.json"
    assert files.open_location("x").uri == str(tmp_path / "x")
    assert files.open_location("file:///a/b").uri == "/a/b"
    assert files.open_location("s3://b/k/").uri == "s3://b/k"


def test_a_folder_that_is_all_one_may_write_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A volume that is mounted there: nothing can be made beside it, and what is beside it is another disk."""
    folder = tmp_path / "mounted"
    folder.mkdir()
    writable = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: str(path) != str(tmp_path) and writable(path, mode))
    steps: list[str] = []
    monkeypatch.setattr(files, "_checkpoint", lambda step, uri: steps.extend(map(str, tmp_path.rglob("*.staging*"))))
    files.publish_bytes(folder / "file", b"new")
    files.publish_bytes(folder / "part" / "file", b"new", staging=f"{folder}.staging")
    assert set(steps) == {f"{folder}/.staging"}
    assert sorted(path.name for path in folder.rglob("*")) == ["file", "file", "part"]


def test_what_is_no_file_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "config.yaml")
    for read in (files.read_bytes, files.read_if_there, lambda uri: files.open_input(uri).__enter__()):
        with pytest.raises(DataError, match="is a pipe, a socket or a device; want a file"):
            read(str(tmp_path / "config.yaml"))


def test_lock_files_of_an_office_are_hidden(tmp_path: Path) -> None:
    for name in ("a.csv", "~$a.csv", ".b.csv"):
        (tmp_path / name).write_text("x")
    assert [files.name_of(file) for file in files.list_files(str(tmp_path), ".csv")] == ["a.csv"]


def test_below_a_file_there_is_no_file(tmp_path: Path) -> None:
    """Who gives a CSV file as bars is told that it is no dataset, not the number of an error."""
    (tmp_path / "bars.csv").write_text("instrument,datetime\n")
    assert files.read_if_there(tmp_path / "bars.csv" / "metadata.json") is None
    assert files.children(tmp_path / "bars.csv") == []
    assert files.sizes(tmp_path / "bars.csv") == {}


def test_a_name_that_is_no_text_is_one_line(tmp_path: Path) -> None:
    """As Windows leaves them in archives: bytes of Latin-1."""
    name = os.fsdecode(b"caf\xe9.csv")
    (tmp_path / name).write_text("x")
    with pytest.raises(DataError, match=r"'.*caf\\udce9.csv': is no UTF-8 text"):
        files.read_bytes(tmp_path / name)
    for ask in (files.children, files.list_files, files.sizes):
        with pytest.raises(DataError, match=r"holds a file or folder whose name is no UTF-8 text .*caf\\xe9.csv"):
            ask(tmp_path)


def test_an_address_of_a_file_may_be_written_as_browsers_do(tmp_path: Path) -> None:
    (tmp_path / "a b").mkdir()
    (tmp_path / "a b" / "数据").write_text("x")
    (tmp_path / "a%20b").write_text("y")
    assert files.read_bytes((tmp_path / "a b" / "数据").as_uri()) == b"x"
    assert files.read_bytes(f"file://{tmp_path}/a%20b") == b"y"  # that is there as it is written


@pytest.mark.parametrize("blank", ["", "   ", "\t"])
def test_a_blank_address_is_none(blank: str) -> None:
    """An unset variable of a shell would name the working directory, or make a folder that nobody sees."""
    with pytest.raises(DataError, match="is no address; want a local path"):
        files.open_location(blank)
