"""CSV in the encodings and with the separators that people have."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from raybench.errors import DataError
from raybench.market.sources import open_source

HEADER = "股票代码,日期,开盘,最高,最低,收盘,成交量"
ROWS = ["000001,20200102,1.5,2,1,1.5,10", "NA,20200102,2.5,3,2,2.5,20", "TRUE,20200103,2.5,3,2,2.5,20"]


def write(folder: Path, encoding: str, *, mark: str = ",", end: str = "\n", rows: list[str] = ROWS) -> Path:
    file = folder / "bars.csv"
    file.write_bytes(end.join([HEADER, *rows, ""]).replace(",", mark).encode(encoding))
    return file


@pytest.mark.parametrize("mark", [",", "\t", ";"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize(
    ("encoding", "named"),
    [("utf-8", None), ("utf-8-sig", None), ("utf-16", None), ("gb18030", "gb18030"), ("gbk", "GBK"), ("utf-8", "utf8")],
)
def test_the_same_bars_come_out(tmp_path: Path, encoding: str, named: str | None, mark: str, end: str) -> None:
    source = open_source(write(tmp_path, encoding, mark=mark, end=end), encoding=named)
    assert list(source.spans) == ["000001", "NA", "TRUE"]
    assert source.block(["NA"]).fields["close"].tolist() == [2.5]


def test_another_encoding_is_told_with_its_remedy(tmp_path: Path) -> None:
    file = write(tmp_path, "gbk")
    with pytest.raises(DataError, match="is not UTF-8 text; say what it is with --encoding, such as gb18030"):
        open_source(file)


def test_a_wrong_encoding_is_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is not ascii text; want another --encoding"):
        open_source(write(tmp_path, "utf-8"), encoding="ascii")
    file = write(tmp_path, "utf-8", rows=[*ROWS, "名,20200102,1,1,1,1,1"])
    with pytest.raises(DataError, match=r"is not utf-16 text; want another --encoding|has no header"):
        open_source(file, encoding="utf-16")
    with pytest.raises(DataError, match="--encoding klingon: is no encoding"):
        open_source(file, encoding="klingon")


def test_an_encoding_is_for_csv(tmp_path: Path) -> None:
    (tmp_path / "t.parquet").touch()
    with pytest.raises(DataError, match=r"is for CSV, and .* is parquet"):
        open_source(tmp_path / "t.parquet", encoding="gbk")


def test_an_encoding_may_be_that_of_universes_alone(tmp_path: Path) -> None:
    rows = pd.read_csv(write(tmp_path, "utf-8"), dtype={"股票代码": str, "日期": str}, keep_default_na=False)
    rows.to_parquet(tmp_path / "bars.parquet", index=False)
    with pytest.raises(DataError, match=r"is for CSV, and .* is parquet; leave it out"):
        open_source(tmp_path / "bars.parquet", encoding="gb18030")
    assert len(open_source(tmp_path / "bars.parquet", encoding="gb18030", others=True).spans)
