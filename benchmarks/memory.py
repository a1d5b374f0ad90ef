"""Peak memory of Alpha360 training: the whole process tree of ``raybench train`` against Qlib's handler and dataset.

    python benchmarks/memory.py [--short]

Sampled twice a second: proportional set size (smaps_rollup) summed over the command and everything it started, Ray
included, plus what the object store has allocated. Pages of the store that a process has mapped are counted in
both, so the sum is an upper bound. Qlib's side builds the handler, then prepares the segments that ``fit`` asks for.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks._measure import ROOT, bars_of, config_of, measured, parser, qlib_case, use_cores
from raybench.config import dump_config

WANTED = 0.2
GIB = 2**30
LARGEST = 12  # processes named in the output


@dataclass(frozen=True, slots=True, kw_only=True)
class Peak:
    """The sample with the highest sum, in GiB."""

    total: float = 0.0
    pss: float = 0.0
    store: float = 0.0
    processes: int = 0
    largest: tuple[str, ...] = ()


def main() -> None:
    """Run both sides one after the other and print their peaks and the ratio."""
    options = parser(__doc__)
    options.add_argument("--workers", type=int, default=1, help="training workers; 1 is what raybench train does")
    given = options.parse_args()
    use_cores(given.cores)
    with measured(f"peak memory, GRU on Alpha360, {given.workers} workers") as figures, bars_of(given.provider) as bars:
        overrides = ["train.max_epochs=1", f"cluster.num_workers={given.workers}"]
        config = config_of("gru_alpha360", bars, short=given.short, overrides=overrides)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "config.yaml"
            path.write_text(dump_config(config))
            ours = peak_of([sys.executable, "-m", "raybench", "train", str(path), "--out", f"{folder}/run"])
        script = str(ROOT / "benchmarks" / "qlib_side" / "dataset.py")
        theirs = peak_of([given.qlib_python, script, json.dumps(qlib_case(config, given.provider))])
        figures |= {"raybench_gib": ours.total, "raybench_pss_gib": ours.pss, "raybench_store_gib": ours.store}
        figures |= {"raybench_processes": ours.processes, "qlib_gib": theirs.total, "qlib_processes": theirs.processes}
        figures |= {"raybench_largest": ours.largest}
        figures |= {"of_qlib": ours.total / theirs.total, "of_qlib_wanted_at_most": WANTED}


def peak_of(command: list[str], interval: float = 0.5) -> Peak:
    """Run a command to its end and return its highest sample."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    seen, peak = {process.pid}, Peak()
    while process.poll() is None:
        # what was a descendant stays one, also when its parent has gone
        seen = {pid for pid in seen if Path(f"/proc/{pid}").exists()} | descendants(seen)
        by_process, store = {pid: proportional_bytes(pid) for pid in seen}, stored_bytes(seen)
        pss = sum(by_process.values())
        if pss + store > peak.total * GIB:
            peak = Peak(
                total=(pss + store) / GIB,
                pss=pss / GIB,
                store=store / GIB,
                processes=len(seen),
                largest=tuple(
                    f"{name_of(pid)} {by_process[pid] >> 20} MiB"
                    for pid in sorted(seen, key=by_process.__getitem__, reverse=True)[:LARGEST]
                ),
            )
        time.sleep(interval)
    if process.returncode:
        raise SystemExit(f"{' '.join(command)[:200]} ended with {process.returncode}")
    return peak


def descendants(roots: set[int]) -> set[int]:
    """Process ids below ``roots``."""
    children: dict[int, list[int]] = {}
    for pid, parent in parents():
        children.setdefault(parent, []).append(pid)
    found, ahead = set[int](), list(roots)
    while ahead:
        for pid in children.get(ahead.pop(), []):
            if pid not in found:
                found.add(pid)
                ahead.append(pid)
    return found


def parents() -> Iterator[tuple[int, int]]:
    """Every process with its parent."""
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                fields = Path(f"/proc/{entry}/stat").read_text().rpartition(")")[2].split()
            except OSError:  # it has ended
                continue
            yield int(entry), int(fields[1])


def name_of(pid: int) -> str:
    """What a process calls itself."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").split()
    except OSError:
        return "(ended)"
    return next((Path(word).name for word in words if word.startswith("ray::") or "python" not in word), "python")


def proportional_bytes(pid: int) -> int:
    """Proportional set size of a process; 0 once it has ended."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:")), 0)


def stored_bytes(pids: set[int]) -> int:
    """What Ray's object stores have allocated: pages of the (unlinked) shared files that the processes hold open."""
    files: dict[tuple[int, int], int] = {}
    for pid in pids:
        folder = Path(f"/proc/{pid}/fd")
        try:
            for entry in folder.iterdir():
                if "plasma" in os.readlink(entry):
                    found = entry.stat()
                    files[found.st_dev, found.st_ino] = found.st_blocks * 512
        except OSError:
            continue
    return sum(files.values())


if __name__ == "__main__":
    main()
