"""What lies beside tables (metadata, manifests, footers) and was changed is named in one line."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from raybench.errors import DataError
from raybench.feature_sets.build import build_features, plan_features
from raybench.feature_sets.table import manifest_uri, open_features
from raybench.market.bars import open_bars
from raybench.scoring.table import scored_dates, write_date
from raybench.storage import files
from raybench.storage.encoding import encode_table
from raybench.storage.parquet import read_metadata
from tests.panel.panel_market import market_frame, write_bars

DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda data: b"",
    "half": lambda data: data[: len(data) // 2],
    "garbage": lambda data: bytes(range(256)),
    "latin-1": lambda data: "{schön".encode("latin-1") + data,
    "deep": lambda data: b"[" * 200_000,
    "deep keys": lambda data: b'{"a":' * 100_000,
    "a list": lambda data: b"[1]",
    "null": lambda data: b"null",
}


def without(key: str) -> Callable[[bytes], bytes]:
    return lambda data: json.dumps({k: v for k, v in json.loads(data).items() if k != key}).encode()


def with_(**changes: Any) -> Callable[[bytes], bytes]:
    return lambda data: json.dumps({**json.loads(data), **changes}).encode()


OF_BARS = {name: without(name) for name in ("fields", "files", "calendar", "universes")} | {
    "files of another kind": with_(files=5),
    "files of numbers": with_(files=[1]),
    "dates of another kind": with_(dates="many"),
}
OF_FEATURES = {name: without(name) for name in ("state", "columns", "label", "fingerprint", "files")} | {
    "files of another kind": with_(files=5),
    "files of numbers": with_(files=[1]),
    "parts without counts": with_(files=[{"name": "a", "instruments": ["A"]}]),
    "parts that are uneven": with_(
        files=[{"name": "a", "instruments": ["A"], "counts": [], "first": "", "last": "", "sha256": ""}]
    ),
    "a label of another kind": with_(label="LABEL0"),
    "columns of numbers": with_(columns=[1, 2]),
    "an unknown state": with_(state="half"),
}
FOOTERS = [
    b"",
    b"{",
    b"[]",
    b"5",
    b"{}",
    b'{"run_id": "a"}',
    b'{"run_id": "a", "rows": "many"}',
    b"\xff",
    b"[" * 100_000,
]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole")
    bars = write_bars(folder / "bars", market_frame(instruments=2))
    build_features(plan_features(bars, ("alpha158",), str(folder / "features")))
    return folder


@pytest.mark.parametrize(("what", "damage"), [*DAMAGES.items(), *OF_BARS.items()], ids=[*DAMAGES, *OF_BARS])
def test_metadata_of_bars(whole: Path, tmp_path: Path, what: str, damage: Callable[[bytes], bytes]) -> None:
    (tmp_path / "metadata.json").write_bytes(damage((whole / "bars" / "metadata.json").read_bytes()))
    with pytest.raises(DataError, match=r"metadata\.json"):
        open_bars(str(tmp_path))


@pytest.mark.parametrize(("what", "damage"), [*DAMAGES.items(), *OF_FEATURES.items()], ids=[*DAMAGES, *OF_FEATURES])
def test_the_manifest_of_features(whole: Path, tmp_path: Path, what: str, damage: Callable[[bytes], bytes]) -> None:
    table = tmp_path / "features"
    Path(manifest_uri(str(table))).write_bytes(damage(Path(manifest_uri(str(whole / "features"))).read_bytes()))
    with pytest.raises(DataError, match=r"features\.manifest\.json"):
        open_features(str(table))


@pytest.mark.parametrize("footer", FOOTERS)
def test_the_footer_of_scores(tmp_path: Path, footer: bytes) -> None:
    scores = pd.DataFrame(
        {"instrument": ["A", "B"], "datetime": pd.Timestamp("2020-01-02"), "score": np.array([1, 2], "float32")}
    )
    write_date(str(tmp_path), date(2020, 1, 2), scores, "a", {"coverage": 1.0})
    (file,) = tmp_path.rglob("*.parquet")
    table = pq.read_table(file)
    key = next(k for k in table.schema.metadata if b"raybench" in k)
    files.publish_bytes(str(file), encode_table(table.replace_schema_metadata({key: footer})))
    with pytest.raises(DataError, match=r"scores\.parquet: .*footer"):
        scored_dates(str(tmp_path))


def test_the_footer_of_a_table_may_be_in_any_encoding(tmp_path: Path) -> None:
    table = pa.table({"a": [1]}).replace_schema_metadata({b"k\xff": b"v\xe4"})
    files.publish_bytes(str(tmp_path / "t.parquet"), encode_table(table))
    assert len(read_metadata(str(tmp_path / "t.parquet"))) == 1
