"""Rows of an import on their way: what comes out is what went in, and a full temporary folder is one line."""

from __future__ import annotations

import resource
import signal
import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from raybench.errors import DataError
from raybench.market.sources.spool import Spool


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def filled(rows: int) -> Spool:
    spool = Spool(["close", "vwap"])
    days = np.datetime64("2020-01-01", "us") + np.arange(rows) * np.timedelta64(1, "D")
    names = pa.array(["B", "A"] * (rows // 2))
    spool.append(names, days, {"close": np.arange(rows, dtype=np.float32)}, "file")
    return spool


def test_each_instrument_comes_out_with_its_rows(temporary: Path) -> None:
    spool = filled(10)
    days, fields = spool.take("A")
    assert spool.instruments == ["A", "B"]
    assert fields["close"].tolist() == [1, 3, 5, 7, 9]
    assert np.isnan(fields["vwap"]).all()
    assert days[0] == np.datetime64("2020-01-02")
    del spool, days, fields
    assert not list(temporary.iterdir())


def test_a_full_temporary_folder_is_told_by_its_name(temporary: Path) -> None:
    limit, before = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limit[1]))
    try:
        with pytest.raises(
            DataError, match=rf"^{temporary}: cannot be written: File too large; make room, or set TMPD"
        ):
            filled(100_000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
        signal.signal(signal.SIGXFSZ, before)
