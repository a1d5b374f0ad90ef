"""Which finished runs an address stands for, and what each is called beside others.

A run is itself; a folder of seeds is several fits of one configuration; of a search it is the ``best``; of a benchmark
all its configurations, with what failed. A configuration is called after its folder, with as many of the folders above
as it takes to tell it from the others.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from raybench.comparison.results import TABLE, read_results
from raybench.errors import RunError
from raybench.runs.artifact import StoredRun, check_different, is_finished, load_run
from raybench.runs.folders import finished_seeds, run_folders
from raybench.storage import files

RUNS, BEST = "runs", "best"
_SEED = re.compile(r"seed-\d+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """A finished run. ``name``: of its configuration. ``roll``: of a benchmark with rolling segments."""

    name: str
    run: StoredRun
    roll: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Gathered:
    """What is compared.

    fits : by configuration, those of one next to each other
    failed : rows of the frame of results, of the fits of a benchmark that came to nothing
    warnings : what was left out
    """

    fits: tuple[Fit, ...]
    failed: tuple[Mapping[str, Any], ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def names(self) -> list[str]:
        """The configurations, in the order they were given."""
        return list(dict.fromkeys(fit.name for fit in self.fits))

    def of(self, name: str) -> list[Fit]:
        """The fits of a configuration."""
        return [fit for fit in self.fits if fit.name == name]


@dataclass(frozen=True, slots=True)
class _Found:
    """Where one configuration lies: its folder, to be called by, and its runs as (roll, folder)."""

    folder: str
    runs: tuple[tuple[str | None, str], ...]
    failed: tuple[Mapping[str, Any], ...] = ()


def gather(addresses: Sequence[str], *, trust: bool = False) -> Gathered:
    """Open the runs at addresses; RunError if one is not finished or given twice, or if there are fewer than two.

    ``trust``: they may bring code of their own.
    """
    warnings: list[str] = []
    found = [one for address in addresses for one in _found_at(files.open_location(address).uri, warnings)]
    fits, failed = [], []
    for name, one in zip(_names([one.folder for one in found]), found, strict=True):
        fits += [Fit(name=name, run=load_run(folder, trust=trust), roll=roll) for roll, folder in one.runs]
        failed += [{**row, "name": name} for row in one.failed]
    check_different([fit.run for fit in fits])
    if len(fits) < 2:
        given = fits[0].run.uri if fits else ", ".join(addresses) or "nothing"
        raise RunError(f"{len(fits)} finished run to compare ({given}); want two or more runs, or folders of them")
    return Gathered(fits=tuple(fits), failed=tuple(failed), warnings=tuple(warnings))


def _found_at(place: str, warnings: list[str]) -> list[_Found]:
    if not is_finished(place):
        if is_finished(files.join(place, BEST)):
            return [_Found(place, ((None, files.join(place, BEST)),))]
        if files.is_folder(files.join(place, RUNS)):
            return _of_benchmark(place, warnings)
    return [_Found(place, tuple((None, folder) for folder in run_folders(place)))]


def _of_benchmark(place: str, warnings: list[str]) -> list[_Found]:
    """The configurations of a benchmark, with the fits that failed; what has not ended is left out, and named."""
    rows = read_results(place).to_dict("records") if files.exists(files.join(place, TABLE)) else []
    failed = [row for row in rows if row["error"] is not None]
    found, unfinished = [], 0
    for name in sorted(files.children(files.join(place, RUNS))):
        folder = files.join(place, RUNS, name)
        runs, missing = [], 0
        for roll, below in _rolls(folder):
            done = finished_seeds(below)
            runs += [(roll, run) for run in done]
            missing += sum(bool(_SEED.fullmatch(child)) for child in files.children(below)) - len(done)
        mine = tuple({str(key): value for key, value in row.items()} for row in failed if row["name"] == name)
        unfinished += max(missing - len(mine), 0)
        if runs:
            found.append(_Found(folder, tuple(runs), mine))
        elif mine:
            warnings.append(f"{folder}: all fits failed ({mine[0]['error']})")
    if unfinished:
        warnings.append(f"{place}: {unfinished} fits are not finished and are left out; go on with bench --resume")
    return found


def _rolls(folder: str) -> Iterator[tuple[str | None, str]]:
    """The folders of seeds of a configuration: itself, or one for each roll."""
    below = sorted(files.children(folder))
    if any(map(_SEED.fullmatch, below)):
        yield None, folder
        return
    for name in below:
        if files.is_folder(files.join(folder, name)):
            yield name, files.join(folder, name)


def _names(folders: Sequence[str]) -> list[str]:
    """The shortest ends of addresses that tell them apart."""
    parts = [folder.rstrip("/").split("/") for folder in folders]
    taken = [1] * len(parts)
    while True:
        names = ["/".join(each[-count:]) for each, count in zip(parts, taken, strict=True)]
        longer = [
            count + 1 if names.count(name) > 1 and count < len(each) else count
            for name, each, count in zip(names, parts, taken, strict=True)
        ]
        if longer == taken:
            return names
        taken = longer


def with_data(fit: Fit, bars: str | None, features: str | None) -> Fit:
    """A fit whose data lie elsewhere, as far as that is said."""
    places = {key: files.open_location(value).uri for key, value in (("bars", bars), ("features", features)) if value}
    if not places:
        return fit
    config = fit.run.config.model_copy(update={"data": fit.run.config.data.model_copy(update=places)})
    return replace(fit, run=replace(fit.run, config=config))
