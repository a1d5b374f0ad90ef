"""Dated concepts: who is in which on a date, read from Parquet and CSV, and looked up for many samples."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from raybench.errors import DataError
from raybench.market.concepts import Concepts, Memberships, open_concepts

ROWS = [
    ("SH600000", "bank", "2020-01-02", ""),
    ("SH600000", "state", "2020-01-01", "2020-01-31"),
    ("SH600000", "state", "2020-03-01", "2020-03-31"),
    ("SZ000001", "bank", "2020-02-01", "2020-02-29"),
    ("SZ000001", "bank", "2020-02-10", "2020-03-10"),
]
HEADER = "instrument,concept,start,end"


def write_csv(path: Path, rows: list[tuple[str, str, str, str]] = ROWS, header: str = HEADER) -> str:
    path.write_text("\n".join([header, *map(",".join, rows)]) + "\n")
    return str(path)


def write_parquet(path: Path, rows: list[tuple[str, str, str, str]] = ROWS) -> str:
    table = pd.DataFrame(rows, columns=HEADER.split(","))
    table[["start", "end"]] = table[["start", "end"]].apply(pd.to_datetime)
    table.to_parquet(path)
    return str(path)


@pytest.fixture
def concepts(tmp_path: Path) -> Concepts:
    return open_concepts(write_csv(tmp_path / "c.csv"))


def test_both_ends_belong_and_an_empty_one_is_open(concepts: Concepts) -> None:
    assert concepts.names == ("bank", "state")

    def members(when: str) -> list[list[float]]:
        return concepts.members(["SZ000001", "SH600000", "SH999999"], when).tolist()

    nobody = [0.0, 0.0]
    assert members("2020-01-01") == [nobody, [0.0, 1.0], nobody]
    assert members("2020-01-31 15:00") == [nobody, [1.0, 1.0], nobody]
    assert members("2020-02-01") == [[1.0, 0.0], [1.0, 0.0], nobody]
    assert members("2020-03-10") == [[1.0, 0.0], [1.0, 1.0], nobody]
    assert members("2999-01-01") == [nobody, [1.0, 0.0], nobody]


def test_parquet_and_csv_in_any_order_are_the_same(concepts: Concepts, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    write_parquet(folder / "a.parquet", ROWS[2:])
    write_parquet(folder / "b.parquet", ROWS[:2])
    for uri in (write_parquet(tmp_path / "c.parquet"), str(folder), write_csv(tmp_path / "d.csv", ROWS[::-1])):
        found = open_concepts(uri)
        assert found.fingerprint == concepts.fingerprint
        assert found.members(["SH600000"], "2020-03-05").tolist() == [[1.0, 1.0]]
    assert open_concepts(write_csv(tmp_path / "e.csv", ROWS[1:])).fingerprint != concepts.fingerprint


def test_a_later_span_changes_nothing_before_it(concepts: Concepts, tmp_path: Path) -> None:
    later = [("SH600000", "war", "2020-02-11", ""), ("SZ000001", "state", "2020-02-11", "")]
    more = open_concepts(write_csv(tmp_path / "m.csv", [*ROWS, *later]))
    both = ["SH600000", "SZ000001"]
    assert more.names == ("bank", "state", "war")
    assert more.members(both, "2020-02-10")[:, :2].tolist() == concepts.members(both, "2020-02-10").tolist()
    assert not more.members(both, "2020-02-10")[:, 2].any()
    assert more.members(both, "2020-02-11").tolist() == [[1.0, 0.0, 1.0], [1.0, 1.0, 0.0]]


@pytest.fixture
def looked_up(tmp_path: Path) -> tuple[Concepts, list[str], np.ndarray]:
    """Random spans, many overlapping; panels have instruments the table has not, and the other way round."""
    rng = np.random.default_rng(3)
    day = np.datetime64("2020-01-01", "D")
    rows = []
    for _ in range(300):
        start = day + int(rng.integers(0, 90))
        end = start + int(rng.integers(0, 25))
        rows.append((f"I{rng.integers(0, 12)}", f"C{rng.integers(0, 7)}", str(start), str(end)))
    instruments = sorted(f"I{i}" for i in range(3, 15))
    dates = np.sort(rng.choice(np.arange(day, day + 120), 50, replace=False)).astype("datetime64[us]")
    return open_concepts(write_csv(tmp_path / "r.csv", rows)), instruments, dates


def test_samples_are_looked_up_as_they_are_by_date(looked_up: tuple[Concepts, list[str], np.ndarray]) -> None:
    concepts, instruments, dates = looked_up
    instrument_B, date_B = (axis.reshape(-1) for axis in np.meshgrid(np.arange(12), np.arange(50)))
    memberships = concepts.memberships(instruments, dates)
    found_BK = memberships.rows(torch.from_numpy(instrument_B), torch.from_numpy(date_B.astype(np.int32)))
    want_BK = np.concatenate([concepts.members(instruments, date) for date in dates])
    assert want_BK.any()
    assert found_BK.dtype == torch.float32
    assert np.array_equal(found_BK.numpy(), want_BK)

    again = Memberships.from_arrays(memberships.arrays()).to("cpu")
    assert torch.equal(again.rows(torch.tensor([4]), torch.tensor([7])), found_BK[[7 * 12 + 4]])
    assert again.nbytes == memberships.nbytes > 0


def test_a_concept_never_held_is_a_column_of_zeros(concepts: Concepts) -> None:
    memberships = concepts.memberships(["SH600000"], np.array(["2019-05-01"], "datetime64[us]"))
    assert memberships.rows(torch.tensor([0, 0]), torch.tensor([0, 0])).tolist() == [[0.0, 0.0]] * 2


def test_instruments_spelt_differently_are_an_error(concepts: Concepts) -> None:
    with pytest.raises(DataError, match=r"data\.concepts: .* written as 600000\.SS, in the table as SH600000"):
        concepts.memberships(["600000.SS"], np.array(["2020-01-01"], "datetime64[us]"))


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("c.csv", "instrument,concept,start\nA,x,2020-01-01\n", "no column end; want instrument, concept, start, end"),
        ("c.csv", f"{HEADER}\nA,x,2020-01-01,\nA,x,soon,\n", "row 2: 'soon' is not a date"),
        ("c.csv", f"{HEADER}\nA,x,2020-01-01,never\n", "row 1: 'never' is not a date"),
        ("c.csv", f"{HEADER}\nA,x,,2020-01-01\n", "row 1 has no start"),
        ("c.csv", f"{HEADER}\nA,,2020-01-01,\n", "row 1 has no concept"),
        ("c.csv", f"{HEADER}\nA,x,2020-02-01,2020-01-01\n", "row 1: A in x starts 2020-02-01"),
        ("c.csv", f"{HEADER}\n", "has no rows"),
        ("c.txt", f"{HEADER}\n", "want a file that ends in .parquet"),
        ("c.parquet", HEADER, "not a Parquet file"),
    ],
)
def test_what_is_wrong_is_said_in_a_line(tmp_path: Path, name: str, text: str, says: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(DataError) as caught:
        open_concepts(tmp_path / name)
    assert str(caught.value).startswith("data.concepts: ")
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_table_that_is_not_there(tmp_path: Path) -> None:
    for name in ("c.csv", "c.parquet"):
        with pytest.raises(DataError, match=r"data\.concepts: "):
            open_concepts(tmp_path / name)
