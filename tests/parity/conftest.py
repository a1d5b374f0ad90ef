"""The other side of the comparison: Qlib in its own environment, run as a subprocess."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.parity.cases import CASES
from tests.parity.provider import write_provider

ROOT = Path(__file__).parents[2]
RunQlib = Callable[..., None]


@pytest.fixture(scope="session")
def run_qlib() -> RunQlib:
    """Run a script of ``qlib_side`` with its arguments; skipped if there is no environment with pyqlib."""
    asked = os.environ.get("RAYBENCH_QLIB_PYTHON")
    python = Path(asked or ROOT / ".venv-qlib" / "bin" / "python")
    if not python.exists():
        if asked:
            pytest.fail(f"RAYBENCH_QLIB_PYTHON names {python}, which is not there")
        pytest.skip("needs pyqlib in .venv-qlib (make parity)")

    def run(script: str, *arguments: object) -> None:
        command = [str(python), str(Path(__file__).parent / "qlib_side" / script), *map(str, arguments)]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        ended = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
        if ended.returncode:
            pytest.fail(f"{script} failed:\n{ended.stderr[-3000:]}")

    return run


@pytest.fixture(scope="session")
def provider(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Synthetic Qlib provider directory."""
    return write_provider(tmp_path_factory.mktemp("parity") / "provider")


@pytest.fixture(scope="session")
def qlib_tables(run_qlib: RunQlib, provider: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What Qlib makes of the provider for every case, see ``qlib_side/tables.py``."""
    out = tmp_path_factory.mktemp("qlib")
    (out / "cases.json").write_text(json.dumps(CASES))
    run_qlib("tables.py", provider, out / "cases.json", out)
    return out
