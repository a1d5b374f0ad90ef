"""``raybench bench`` as it is mistyped: exit code 2 and one line, nothing written."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from raybench.cli.app import run
from raybench.comparison.fits import names_of

CONFIG = {
    "data": {
        "bars": "bars",
        "universe": "all",
        "feature_set": {"type": "alpha360"},
        "step_len": 60,
        "segments": {
            "train": ["2014-01-01", "2015-03-31"],
            "valid": ["2015-04-01", "2015-07-31"],
            "test": ["2015-08-03", "2015-11-30"],
        },
    },
    "model": {"type": "gru", "hidden_size": 8},
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "gru.yaml").write_text(yaml.safe_dump(CONFIG))
    (tmp_path / "broken.yaml").write_text("data: [")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("--out b", "no configuration is given"),
        ("gru.yaml", "--out is missing"),
        ("nothing.yaml --out b", "nothing.yaml"),
        ("broken.yaml --out b", "broken.yaml"),
        ("gru.yaml model.nonsense=1 --out b", "nonsense"),
        ("gru.yaml --seeds 0 --out b", "--seeds is '0'"),
        ("gru.yaml --seeds 1,1 --out b", "--seeds is '1,1'"),
        ("gru.yaml gru.yaml --out b", "the configurations gru and gru-2 are equal but for train.seed"),
        ("gru.yaml --expanding --out b", "--expanding is given without --rolling"),
        ("gru.yaml --rolling soon --out b", "--rolling is 'soon'; want years, months or days"),
        ("gru.yaml --rolling 2y --out b", "--rolling gives no roll"),
        ("gru.yaml data.residency=streaming --out b", "data.residency is streaming"),
        ("gru.yaml --out gru.yaml", "--out is"),
        ("gru.yaml --out .", "holds other files"),
        ("gru.yaml --out b", "bars"),
        ("gru.yaml --lr 0.1 --out b", "train.lr"),
    ],
)
def test_one_line_and_nothing_written(line: str, why: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = sorted(folder.iterdir())
    assert run(["bench", *line.split()]) == 2
    said = capsys.readouterr()
    errors = [each for each in said.err.splitlines() if not each.startswith("warning: ")]
    assert len(errors) == 1
    assert why in errors[0]
    assert said.out == ""
    assert sorted(folder.iterdir()) == before


def test_what_has_an_equals_sign_is_an_override_unless_it_is_a_file(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "lr=1.yaml").write_text((folder / "gru.yaml").read_text())
    assert run(["bench", "gru.yaml", "lr=1.yaml", "train.lr=1e-3", "--out", "b"]) == 2
    assert "the configurations gru and lr-1 are equal" in capsys.readouterr().err
    assert names_of(["lr=1.yaml"]) == ["lr-1"]
