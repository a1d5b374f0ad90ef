"""What helps whoever types a command."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from raybench.cli.app import COMMANDS, run
from raybench.cli.usage import EXAMPLES, GROUPS, MEANT, config_keys, keys_like
from raybench.config import load_config

SEGMENTS = {
    "train": ["2014-01-01", "2014-12-31"],
    "valid": ["2015-01-01", "2015-06-30"],
    "test": ["2015-07-01", "2015-12-31"],
}
Captured = pytest.CaptureFixture[str]


def test_every_command_has_its_group_and_its_example() -> None:
    assert set(COMMANDS) <= set(GROUPS)
    assert set(COMMANDS) <= set(EXAMPLES)


@pytest.mark.parametrize("name", list(COMMANDS))
def test_help_has_an_example_that_can_be_pasted_and_no_type_of_flags(name: str, capsys: Captured) -> None:
    assert run([name, "--help"]) == 0
    text = capsys.readouterr().out
    assert EXAMPLES[name] in text
    assert "<bool>" not in text
    words = EXAMPLES[name].split()
    assert words[:2] == ["raybench", name]
    assert all(word in text for word in words if word.startswith("--"))


def test_help_lists_commands_in_groups(capsys: Captured) -> None:
    assert run(["--help"]) == 0
    text = capsys.readouterr().out
    assert all(group in text for group in {GROUPS[name] for name in COMMANDS})
    assert "<bool>" not in text


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (["--lr", "3"], "train.lr=3"),
        (["--lr=3"], "train.lr=3"),
        (["--hidden-size", "3"], "model.hidden_size=3"),
        (["--train.lr", "3"], "train.lr=3"),
        (["--batchsize", "3"], "train.batch_size=3"),
        (["--epochs", "3"], "train.max_epochs=3"),
        (["--batch-size", "64"], "train.batch_size=64"),
        (["--seed", "7"], "train.seed=7"),
        (["--patience=5"], "train.early_stop.patience=5"),
        (["--num-workers", "--json"], "cluster.num_workers=VALUE"),
    ],
)
def test_a_key_given_as_an_option(words: list[str], hint: str, capsys: Captured) -> None:
    assert run(["train", "c.yaml", *words]) == 2
    said = capsys.readouterr().err
    assert hint in said
    assert said.count("\n") == 1


def test_an_option_that_is_no_key(capsys: Captured) -> None:
    assert keys_like("nonsense") == []
    assert run(["train", "c.yaml", "--nonsense"]) == 2
    assert "see raybench train --help" in capsys.readouterr().err
    assert run(["score", "--lr", "3"]) == 2
    assert "train.lr" not in capsys.readouterr().err


@pytest.mark.parametrize("name", ["train", "score"])
@pytest.mark.parametrize("order", [["--local", "--ray"], ["--ray", "--local"]])
def test_a_switch_is_not_given_both_ways(name: str, order: list[str], capsys: Captured) -> None:
    assert run([name, "x", *order]) == 2
    assert "error: --local and --ray are both given; want one of them" in capsys.readouterr().err


def test_what_is_meant_is_there() -> None:
    config = load_config({"data": {"bars": "b", "segments": SEGMENTS}, "model": {"type": "gru"}})
    for key in MEANT.values():
        part: object = config
        for name in key.split("."):
            assert hasattr(part, name), f"{key} is no key of a configuration"
            part = getattr(part, name)


def test_keys_are_those_of_all_parts() -> None:
    assert {"train.lr", "data.bars", "cluster.num_workers", "model.n_chans", "recipe"} <= set(config_keys())


def test_the_keys_of_a_network(capsys: Captured) -> None:
    assert run(["models", "gru"]) == 0
    text = capsys.readouterr().out
    assert "41,537" in text
    assert "model.hidden_size" in text
    assert "units of a layer" in text
    assert run(["models", "gruu"]) == 2
    assert "did you mean 'gru'" in capsys.readouterr().err


def test_the_list_of_networks(capsys: Captured) -> None:
    assert run(["models"]) == 0
    text = capsys.readouterr().out
    assert text.startswith("models: parameters")
    assert "563,713" in text


def completed(words: str, number: int) -> list[str]:
    """What bash is told of a line of words, the cursor in one of them."""
    asked = {"_RAYBENCH_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(number)}
    line = [sys.executable, "-m", "raybench"]
    return subprocess.run(line, env={**os.environ, **asked}, capture_output=True, text=True, timeout=60).stdout.split()


def test_tab_completes_commands_options_and_networks() -> None:
    assert completed("raybench sc", 1) == ["schema", "score"]
    assert completed("raybench score --mo", 2) == ["--model"]
    assert completed("raybench models g", 2) == ["gats", "gru"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_for_a_shell(shell: str, tmp_path: Path) -> None:
    environment = {**os.environ, "_RAYBENCH_COMPLETE": f"source_{shell}"}
    line = [sys.executable, "-m", "raybench"]
    done = subprocess.run(line, env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0
    assert f"complete_{shell}" in done.stdout
    if shell == "bash":
        (tmp_path / "script").write_text(done.stdout)
        subprocess.run(["bash", "-n", str(tmp_path / "script")], check=True, timeout=20)
