"""The power fails at any step: what is left is what was there, or what should be, and the same command does the rest.

On a disk that keeps what was forced onto it, and of the rest what chance has it; see ``tests.forgetful``. A command
that has ended has left nothing to chance. Searches and benches: ``test_power_cut_of_fits``.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.cluster.jobs.power_cut import Job

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="/proc tells which file a handle is of"),
]

WORKS = [
    "import",
    "import --replace",
    "import --append",
    "import --compact",
    "daily",
    "features",
    "train",
    "train --seeds",
    "adopt",
    "export",
    "init",
    "compare",
    "score",
    "score of two runs",
    "evaluate",
    "explain",
]


@pytest.mark.parametrize("name", WORKS)
def test_what_a_power_cut_leaves_is_whole_and_the_rest_is_done_again(
    jobs: Mapping[str, Job], name: str, folder: Path
) -> None:
    assert jobs[name].check(folder) >= 5
