"""Every command that computes works for a container's user without a name, a home, or a right to the package."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from raybench.config import Config, dump_config
from tests.nobody import UID, own_folder, run_as_nobody

pytestmark = [pytest.mark.ray, pytest.mark.slow]

COMMANDS = {
    "features": "--bars {bars} --set alpha158,alpha360 --to features --end 2014-03-31",
    "train": "config.yaml --out run",
    "score": "--model run --bars {bars} --to scores --local --start 2015-12-01",
    "evaluate": "--scores scores --bars {bars} --model run --out evaluation",
    "explain": "--model run --bars {bars} --date 2015-12-30 --out explanation --local",
    "export": "--model run --to model.onnx --format onnx",
}


@pytest.fixture
def public() -> Iterator[Path]:
    """A folder with a short name, for Ray's sockets, that other users may pass through."""
    folder = Path(tempfile.mkdtemp(prefix="rb-"))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


def test_every_command_works_without_a_home(market_bars: str, make_config: Callable[..., Config], public: Path) -> None:
    bars = public / "bars"
    shutil.copytree(market_bars, bars)
    folder = own_folder(public)
    config = make_config(data__bars=str(bars), data__embargo=2, cluster__num_workers=1, train__max_epochs=1)
    (folder / "config.yaml").write_text(dump_config(config))
    env = {"HOME": "/nonexistent", "TMPDIR": str(folder)}
    for name, options in COMMANDS.items():
        line = ["-m", "raybench", name, *options.format(bars=bars).split(), "--quiet"]
        done = run_as_nobody(line, cwd=folder, env=env)
        assert (done.returncode, done.stderr) == (0, ""), f"{name}: {done.stderr}"
    kernels = [path.name for path in (folder / f"raybench-{UID}" / "numba").rglob("*.nbi")]
    assert any(name.startswith("alpha360_wide.") for name in kernels)  # compiled in a Ray worker
    assert not (folder / "~").exists()
