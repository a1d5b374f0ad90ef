"""Names that may mean one instrument are found, and others are not."""

from __future__ import annotations

import pytest

from raybench.columns.spelling import plain, twins


@pytest.mark.parametrize(
    ("names", "has", "found"),
    [
        (["1"], ["000001"], {"1": "000001"}),
        (["600000.SH", "sh.600000"], ["SH600000"], {"600000.SH": "SH600000", "sh.600000": "SH600000"}),
        (["600000"], ["SH600000"], {"600000": "SH600000"}),
        (["SH600000"], ["600000"], {"SH600000": "600000"}),
        (["1"], ["SH000001", "SZ000001"], {}),  # nobody can tell which
        (["000001.SH"], ["000001.SZ"], {}),
        (["ETH-BTC", "SH600000"], ["BTC-ETH", "SH600000"], {}),
        (["BRK-B"], ["BRK.B"], {"BRK-B": "BRK.B"}),
        (["-"], ["."], {}),
    ],
)
def test_twins(names: list[str], has: list[str], found: dict[str, str]) -> None:
    assert twins(names, has) == found


def test_names_in_other_letters() -> None:
    assert plain("贵州茅台") == ("贵州茅台",)
