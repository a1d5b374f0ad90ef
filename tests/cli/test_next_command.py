"""The next command has the paths that were just used, and is one that the command line takes."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.main import get_command

from raybench.cli.app import build
from raybench.cli.next_command import after_check, after_features, after_import, after_score, after_train, beside
from raybench.config import load_config

ROOT = Path(__file__).parents[2]


def takes(words: tuple[str, ...]) -> None:
    """Parse a command line as the command line does, without running it."""
    group = get_command(build(words[0]))
    with group.make_context("raybench", list(words)) as context:
        name, command, rest = group.resolve_command(context, list(words))  # type: ignore[attr-defined]
        assert name == words[0]
        command.make_context(name, rest, parent=context)


def test_every_step_is_taken_and_leads_to_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    config = load_config("configs/gru_alpha158.yaml", ["data.bars=my bars"])
    steps = [
        after_import("my bars"),
        after_features("features", "my bars", None),
        after_check("configs/gru_alpha158.yaml", ["train.lr=1e-3"]),
        after_train("runs/gru", config),
        after_score("runs/gru-scores", ["runs/gru", "runs/b"], "my bars", None, holds_any=True),
        after_score("s", ["runs/gru"], None, "features", holds_any=True),
    ]
    for words in steps:
        takes(words)


def test_without_a_configuration_at_hand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert after_features("f", "b", None) == ()


def test_nothing_to_evaluate() -> None:
    assert after_score("s", ["r"], "b", None, holds_any=False) == ()


@pytest.mark.parametrize(
    ("path", "what", "other"),
    [
        ("runs/gru", "scores", "runs/gru-scores"),
        ("runs/gru-scores/", "evaluation", "runs/gru-evaluation"),
        ("bars", "features", "features"),
        ("data/cn-bars", "features", "data/cn-features"),
        ("s3://b/runs/gru", "scores", "s3://b/runs/gru-scores"),
        ("x", "evaluation", "x-evaluation"),
    ],
)
def test_neighbours(path: str, what: str, other: str) -> None:
    assert beside(path, what) == other
