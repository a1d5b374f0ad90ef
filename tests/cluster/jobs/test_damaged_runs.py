"""A run that somebody changed: each command says in one line which file cannot be used, and exits with 2.

Damages are tried as they are, and once more with the hashes and the id of the manifest made to fit them.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from safetensors.torch import load, save

from raybench.cli.app import run as command
from raybench.config import Config
from raybench.errors import UserError
from raybench.runs.artifact import load_run

FILES = ("config.yaml", "model.safetensors", "processors.json", "history.parquet", "metrics.json", "manifest.json")
TEXT = ("config.yaml", "processors.json", "metrics.json", "manifest.json")
DEEP = b"[" * 200_000

WHOLE: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda data: b"",
    "half": lambda data: data[: len(data) // 2],
    "garbage": lambda data: bytes(range(256)) * 8,
    "latin-1": lambda data: "schöne Grüße".encode("latin-1") + data,
    "deep": lambda data: DEEP,
    "deep keys": lambda data: b'{"a":' * 100_000,
    "a list": lambda data: b"[1, 2]",
    "null": lambda data: b"null",
    "huge number": lambda data: b"9" * 100_000,
}
"""What can happen to any file."""


def edited(**changes: Any) -> Callable[[bytes], bytes]:
    """Change entries of an object in JSON; ``...`` takes one away."""

    def edit(data: bytes) -> bytes:
        content = {**json.loads(data), **changes}
        return json.dumps({key: value for key, value in content.items() if value is not ...}).encode()

    return edit


def step(**changes: Any) -> Callable[[bytes], bytes]:
    """Change entries of the first processor."""

    def edit(data: bytes) -> bytes:
        content = json.loads(data)
        content["infer"][0] = {k: v for k, v in {**content["infer"][0], **changes}.items() if v is not ...}
        return json.dumps(content).encode()

    return edit


def replaced(old: str, new: str) -> Callable[[bytes], bytes]:
    def edit(data: bytes) -> bytes:
        assert old in data.decode()
        return data.decode().replace(old, new).encode()

    return edit


def weights(change: Callable[[dict[str, torch.Tensor]], dict[str, torch.Tensor]]) -> Callable[[bytes], bytes]:
    def edit(data: bytes) -> bytes:
        return save(change(load(data)))

    return edit


BOMB = "a: &a [1,1,1,1,1,1,1,1,1]\n" + "".join(
    f"{name}: &{name} [{','.join([f'*{before}'] * 9)}]\n" for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)

OF_ONE: list[tuple[str, str, Callable[[bytes], bytes]]] = [
    ("config.yaml", "an alias bomb", lambda data: BOMB.encode()),
    ("config.yaml", "a billion layers", replaced("num_layers: 1", "num_layers: 1000000000")),
    ("config.yaml", "terabytes", replaced("hidden_size: 8", "hidden_size: 900000")),
    ("config.yaml", "another size", replaced("hidden_size: 8", "hidden_size: 9")),
    ("config.yaml", "another network", replaced("type: gru", "type: lstm")),
    ("config.yaml", "another window", replaced("step_len: 8", "step_len: 1000000000")),
    ("config.yaml", "other features", replaced("ROC60", "ROC30")),
    ("model.safetensors", "a header of 2^60", lambda data: struct.pack("<Q", 2**60) + data[8:]),
    ("model.safetensors", "a deep header", lambda data: struct.pack("<Q", len(DEEP)) + DEEP),
    ("model.safetensors", "another shape", weights(lambda w: {**w, "fc_out.bias": torch.zeros(7)})),
    ("model.safetensors", "a name more", weights(lambda w: {**w, "more": torch.zeros(1)})),
    ("model.safetensors", "a name less", weights(lambda w: {k: v for k, v in w.items() if k != "fc_out.bias"})),
    ("processors.json", "no class", step(**{"class": ...})),
    ("processors.json", "no arguments", step(kwargs=...)),
    ("processors.json", "arguments of another kind", step(kwargs=[1])),
    ("processors.json", "an unknown argument", step(kwargs={"x": 1})),
    ("processors.json", "an unknown class", step(**{"class": "Nothing"})),
    ("processors.json", "other arguments", step(kwargs={"fields_group": 5})),
    ("processors.json", "parameters that are text", step(feature=[["x"], ["y"]])),
    ("processors.json", "too few parameters", step(feature=[[1.0]])),
    ("processors.json", "parameters of uneven length", step(feature=[[1.0], [1.0, 2.0]])),
    ("processors.json", "no step", edited(infer=[])),
    ("processors.json", "columns of another kind", edited(table_columns=5)),
    ("processors.json", "columns that are no names", edited(table_columns=[None] * 20)),
    ("manifest.json", "another version", edited(schema_version=99)),
    ("manifest.json", "no id", edited(run_id=...)),
    ("manifest.json", "an id of another kind", edited(run_id=[])),
    ("manifest.json", "hashes of another kind", edited(sha256=[])),
    ("manifest.json", "hashes of no file", edited(sha256={})),
    ("manifest.json", "a file elsewhere", edited(sha256={"../../etc/passwd": "0"})),
    ("manifest.json", "hashes that are numbers", edited(sha256=dict.fromkeys(FILES[:5], 5))),
    ("manifest.json", "needs of another kind", edited(data=[])),
    ("manifest.json", "epochs of another kind", edited(epochs="many")),
    ("manifest.json", "versions of another kind", edited(versions=7)),
]
DAMAGES = [(name, what, damage) for name in FILES for what, damage in WHOLE.items()] + OF_ONE


@pytest.fixture(scope="module")
def whole(
    make_run: Callable[[Config], str],
    make_config: Callable[..., Config],
    market_bars: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """A run that there is nothing to warn of, and scores of it."""
    folder = tmp_path_factory.mktemp("whole")
    shutil.copytree(make_run(make_config(data__embargo=2)), folder / "run")
    assert command(["score", "--model", str(folder / "run"), "--bars", market_bars, "--to", str(folder / "scores"),
                    "--local", "--start", "2015-12-01", "--quiet"]) == 0  # fmt: skip
    return folder


def seal(run: Path) -> None:
    """Make the manifest fit the files, as somebody would who edits a run by hand."""
    file = run / "manifest.json"
    manifest = json.loads(file.read_text())
    manifest["sha256"] = {name: hashlib.sha256((run / name).read_bytes()).hexdigest() for name in manifest["sha256"]}
    manifest.pop("run_id")
    text = json.dumps(manifest, indent=2, sort_keys=True) + "\n"
    manifest["run_id"] = hashlib.sha256(text.encode() + (run / "model.safetensors").read_bytes()).hexdigest()[:16]
    file.write_text(json.dumps(manifest, indent=2, sort_keys=True) + "\n")


def damaged(whole: Path, to: Path, name: str, damage: Callable[[bytes], bytes]) -> Path:
    shutil.copytree(whole / "run", to)
    (to / name).write_bytes(damage((whole / "run" / name).read_bytes()))
    return to


def lines(run: Path, whole: Path, bars: str, out: Path) -> Iterator[list[str]]:
    """Command lines that open the run."""
    model, scores = ["--model", str(run)], str(whole / "scores")
    yield ["score", *model, "--bars", bars, "--to", str(out / "s"), "--local", "--start", "2015-12-28"]
    yield ["evaluate", *model, "--scores", scores, "--bars", bars, "--out", str(out / "e")]
    yield ["explain", *model, "--bars", bars, "--date", "2015-12-30", "--out", str(out / "x"), "--local"]
    yield ["export", *model, "--to", str(out / "model.onnx"), "--format", "onnx"]
    yield ["check", str(run / "config.yaml")]
    yield ["train", str(whole / "run" / "config.yaml"), "--out", str(run), "--resume"]


@pytest.mark.parametrize(("name", "what", "damage"), DAMAGES, ids=[f"{n}: {w}" for n, w, _ in DAMAGES])
def test_a_changed_file_is_named(
    whole: Path, tmp_path: Path, name: str, what: str, damage: Callable[[bytes], bytes]
) -> None:
    run = damaged(whole, tmp_path / "run", name, damage)
    with pytest.raises(UserError, match=name) as found:
        load_run(str(run))
    assert len(str(found.value)) < 1000
    if name in ("history.parquet", "metrics.json", "manifest.json"):
        return
    seal(run)
    with pytest.raises(UserError, match=r"config\.yaml|" + name):
        load_run(str(run))


@pytest.mark.parametrize("name", ["history.parquet", "metrics.json"])
@pytest.mark.parametrize("what", [what for what in WHOLE if what != "latin-1"])  # Parquet is read from its end
def test_what_is_read_later_is_named_too(whole: Path, tmp_path: Path, name: str, what: str) -> None:
    run = damaged(whole, tmp_path / "run", name, WHOLE[what])
    seal(run)
    opened = load_run(str(run))
    with pytest.raises(UserError, match=name):
        _ = opened.metrics if name == "metrics.json" else opened.history


def test_a_history_of_other_columns_is_named(whole: Path, tmp_path: Path) -> None:
    run = damaged(whole, tmp_path / "run", "metrics.json", lambda data: b'{"valid_ic": "much"}')
    pd.DataFrame({"epoch": [1]}).to_parquet(run / "history.parquet")
    seal(run)
    with pytest.raises(UserError, match=r"history\.parquet.*has no column"):
        _ = load_run(str(run)).history
    with pytest.raises(UserError, match=r"metrics\.json.*valid_ic is no number"):
        _ = load_run(str(run)).metrics


def test_a_manifest_that_says_something_else_is_noticed(whole: Path, tmp_path: Path) -> None:
    run = damaged(whole, tmp_path / "run", "manifest.json", edited(seed=7))
    with pytest.raises(UserError, match=r"manifest\.json.*changed"):
        load_run(str(run))


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_named(whole: Path, tmp_path: Path, name: str) -> None:
    run = damaged(whole, tmp_path / "run", name, lambda data: data)
    (run / name).unlink()
    with pytest.raises(UserError, match=name):
        load_run(str(run))


@pytest.mark.parametrize(("name", "what"), [("config.yaml", "latin-1"), ("model.safetensors", "half"),
                                            ("processors.json", "deep"), ("manifest.json", "garbage")])  # fmt: skip
def test_every_command_says_it_in_one_line(
    whole: Path, market_bars: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, what: str
) -> None:
    run = damaged(whole, tmp_path / "run", name, WHOLE[what])
    before = {path.name: path.read_bytes() for path in run.iterdir()}
    for line in lines(run, whole, market_bars, tmp_path):
        if line[0] == "check" and name != "config.yaml":
            continue
        assert command([*line, "--quiet"]) == 2, line[0]
        text = capsys.readouterr().err
        assert (text.count("\n"), "Traceback" in text, name in text) == (1, False, True), text
    assert {path.name: path.read_bytes() for path in run.iterdir()} == before
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_a_large_network_is_refused_without_its_memory() -> None:
    """In a process that may have 2 GB at most beyond what the libraries take to load."""
    code = (
        "import resource, torch, raybench.models as m\n"
        "used = int(open('/proc/self/statm').read().split()[0]) * resource.getpagesize()\n"
        "resource.setrlimit(resource.RLIMIT_AS, (used + 2**31, used + 2**31))\n"
        "for key in ('hidden_size', 'num_layers'):\n"
        "    try: m.build({'type': 'gru', key: 10**9}, feature_set={'type': 'alpha158'}, step_len=20)\n"
        "    except m.ConfigError as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout.count("\n") == 2
    assert "model.hidden_size" in done.stdout
