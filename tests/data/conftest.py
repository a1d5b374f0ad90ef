"""Bars that several tests of data share."""

from __future__ import annotations

from pathlib import Path

import pytest

from raybench.data.bars import Bars, open_bars
from raybench.data.import_bars import import_bars
from raybench.data.sources import open_source


@pytest.fixture(scope="session")
def cn_bars(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Bars:
    """The real bars of CSI 300's members, imported once."""
    to = str(tmp_path_factory.mktemp("cn") / "bars")
    import_bars(open_source(str(shared / "cn_data")), to)
    return open_bars(to)
