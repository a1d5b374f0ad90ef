"""What the line on a damaged dataset says helps: the same import again, with --replace where it says so."""

from __future__ import annotations

from pathlib import Path

import pytest

from raybench.errors import DataError
from raybench.market.bars import open_bars
from raybench.market.importing.job import import_bars
from raybench.market.sources import memory_source
from raybench.storage import files
from tests.market.small_market import market


def flip(file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)


def used(to: Path) -> None:
    bars = open_bars(to)
    bars.block()
    assert len(bars.calendar)
    assert bars.universe("all").instruments


@pytest.mark.parametrize("name", ["bars/*.parquet", "calendar/*.parquet", "universe/*.parquet", "metadata.json"])
def test_following_the_line_mends_it(tmp_path: Path, name: str) -> None:
    to = tmp_path / "bars"
    import_bars(memory_source(market()), to)
    whole = {path.relative_to(to): path.read_bytes() for path in to.rglob("*") if path.is_file()}
    flip(next(to.glob(name)))
    with pytest.raises(DataError, match=r"make it again from its source$|import again with --replace$") as told:
        used(to)
    import_bars(memory_source(market()), to, replace="--replace" in str(told.value))
    used(to)
    assert {path.relative_to(to): path.read_bytes() for path in to.rglob("*") if path.is_file()} == whole


def test_an_import_that_fails_leaves_hidden_files_of_somebody_s(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They lay beside what a killed import had left, and were deleted with it."""
    for name in (".git", ".staging"):
        (tmp_path / "bars" / name).mkdir(parents=True)
    (tmp_path / "bars" / ".staging" / "importing").touch()
    (tmp_path / "bars" / ".git" / "HEAD").write_text("ref: refs/heads/main")

    def fail(step: str, uri: str) -> None:
        if uri.endswith("metadata.json"):
            raise ConnectionError("no more")

    with monkeypatch.context() as patch:
        patch.setattr(files, "_checkpoint", fail)
        with pytest.raises(ConnectionError):
            import_bars(memory_source(market()), tmp_path / "bars")
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["HEAD"]
