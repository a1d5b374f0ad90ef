"""What a run keeps of its memory, and how scoring reads it on other dates and of other instruments."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from raybench.feeds.memory import LossMemory, StoredMemory

DAYS = np.arange("2020-01-01", "2020-01-13", dtype="datetime64[D]").astype("datetime64[us]")
STATES = 2


def stored(first: int, stop: int) -> StoredMemory:
    """The losses of A, B and C are 100, 200 and 300 and the number of the day; so are those of both predictors."""
    losses = torch.tensor([100.0, 200.0, 300.0])[:, None, None] + torch.arange(first, stop)[:, None]
    return StoredMemory(
        instruments=("A", "B", "C"), dates=DAYS[first:stop], loss_NTK=losses.expand(3, stop - first, STATES)
    )


def test_bytes_say_all_of_it() -> None:
    memory = stored(2, 7)
    again = StoredMemory.from_bytes(memory.to_bytes())
    assert again.instruments == memory.instruments
    assert list(again.dates) == list(memory.dates)
    assert again.last == DAYS[6]
    assert torch.equal(again.loss_NTK, memory.loss_NTK)
    assert again.to_bytes() == memory.to_bytes()


def test_dates_before_the_panel_are_read_as_far_as_a_sample_reaches() -> None:
    """The panel begins on day 4 and lacks day 6; its first sample looks back to day 1, and nobody to day 0."""
    days = [4, 5, 7, 8, 9]
    table = LossMemory(2, len(days), STATES, step_len=4, horizon=2)
    known_T = stored(0, 9).written_to(table, ("C", "X"), DAYS[days])
    assert known_T.tolist() == [True, True, True, True, False]
    codes = torch.arange(len(days))
    found_TLK = table.read(torch.zeros(len(days), dtype=torch.int32), codes)
    assert found_TLK[:, :, 0].tolist() == [[301, 302], [302, 303], [303, 304], [304, 305], [305, 307]]
    assert torch.equal(found_TLK[:, :, 0], found_TLK[:, :, 1])
    assert (table.read(torch.ones(len(days), dtype=torch.int32), codes) == 0).all(), "a stranger has no losses"


@pytest.mark.parametrize(("first", "found"), [(5, [100, 101, 102]), (6, [0, 0, 0])])
def test_a_panel_that_begins_behind_a_gap_finds_nothing(first: int, found: list[int]) -> None:
    """The third day was a Friday, and the sixth a Monday."""
    table = LossMemory(3, 2, STATES, step_len=4, horizon=1)
    known_T = stored(0, 3).written_to(table, ("A", "B", "C"), DAYS[first : first + 2])
    assert not known_T.any()
    assert table.read(torch.tensor([0]), torch.tensor([0]))[0, :, 0].tolist() == found
