"""Which runs an address stands for: itself, the ``seed-N`` folders that ``train --seeds`` wrote into it, or a bench's.

BENCH/results.parquet                      says which fits failed: they are no part of the bench's runs
BENCH/runs/<name>/seed-N                   a configuration's runs
BENCH/runs/<name>/<first date>/seed-N      those of segments that roll, where each roll knows a past of its own
"""

from __future__ import annotations

import contextlib
import json
import re

from raybench.errors import DataError, RunError
from raybench.storage import files, parquet
from raybench.storage.places import BENCH

MANIFEST = "manifest.json"
RUNS, RESULTS, SEEDS = "runs", "results.parquet", "seeds.parquet"
_SEED = re.compile(r"seed-(\d+)")
_ROLL = re.compile(r"\d{4}-\d{2}-\d{2}")


def run_folders(uri: files.Uri) -> tuple[str, ...]:
    """Give the run at ``uri``, or those of its seeds in ascending order, or a bench's; else the address itself.

    RunError if one of them is not finished, for an ensemble of those that happen to be would be another one tomorrow,
    and for a folder of rolls, which are no ensemble: a later one has learned from the dates that an earlier one scores.
    """
    place = files.open_location(uri).uri
    return (place,) if files.exists(files.join(place, MANIFEST)) else folders_below(place)


def folders_below(uri: files.Uri) -> tuple[str, ...]:
    """As :func:`run_folders`, of an address that is no finished run itself."""
    place = files.open_location(uri).uri
    names = _names_of_bench(place)
    folders = [folder for name in names for folder in _known(files.join(place, RUNS, name))] or _known(place)
    if not folders:
        return (place,)
    failed = set(failed_fits(place))
    wanted = dict.fromkeys([*folders, *_asked(place), *_trained(place)])
    unfinished = [folder for folder in wanted if folder not in failed and not _finished(folder)]
    if unfinished:
        named = ", ".join(folder.removeprefix(place).strip("/") for folder in unfinished[:3])
        more = f" and {len(unfinished) - 3} more" if len(unfinished) > 3 else ""
        raise RunError(
            f"{place}: {named}{more} of {len(wanted)} runs is not finished (no {MANIFEST}); go on with --resume, "
            "or name the runs one by one"
        )
    found = tuple(folder for folder in folders if folder not in failed or _finished(folder))
    if not found:
        raise RunError(f"{place}: none of its {len(folders)} fits came to a run; its {RESULTS} says why")
    return found


def failed_fits(uri: files.Uri) -> tuple[str, ...]:
    """The folders of the fits at ``uri`` that failed, by the table of the bench that they are part of."""
    place = files.open_location(uri).uri
    bench = _bench_of(place)
    if bench is None or not files.exists(files.join(bench, RESULTS)):
        return ()
    table = parquet.read_table(files.join(bench, RESULTS), ["run", "error"])
    rows = zip(table["run"].to_pylist(), table["error"].to_pylist(), strict=True)
    failed = [files.join(bench, str(run)) for run, error in rows if error is not None]
    return tuple(folder for folder in failed if folder.startswith(place + "/") and not _finished(folder))


def finished_seeds(uri: files.Uri) -> tuple[str, ...]:
    """The runs of seeds at ``uri`` that are finished, in ascending order; those that are not are passed over."""
    return tuple(folder for folder in _seeds(files.open_location(uri).uri) if _finished(folder))


def _bench_of(place: str) -> str | None:
    """The bench that a folder is, or that it is part of: at most runs/<name>/<roll> below it."""
    for _ in range(4):
        if files.exists(files.join(place, BENCH)):
            return place
        above, _, last = place.rstrip("/").rpartition("/")
        if not above or not last or above.endswith(":/"):
            return None
        place = above
    return None


def _names_of_bench(place: str) -> list[str]:
    return files.children(files.join(place, RUNS)) if files.exists(files.join(place, BENCH)) else []


def _asked(place: str) -> list[str]:
    """The fits that a bench was asked for, those not begun among them; of no bench none."""
    uri = files.join(place, BENCH)
    if not files.exists(uri):
        return []
    try:
        return [files.join(place, str(folder)) for folder in json.loads(files.read_bytes(uri))["asked"]["fits"]]
    except (ValueError, KeyError, TypeError) as error:
        raise RunError(f"{uri}: is damaged ({type(error).__name__}); name the runs one by one") from error


def _trained(place: str) -> list[str]:
    """The seeds that a folder had when they were trained: one that was removed or renamed since is missed.

    A table that cannot be read misses nobody.
    """
    table = files.join(place, SEEDS)
    if not files.exists(table):
        return []
    with contextlib.suppress(DataError):
        return [files.join(place, str(name)) for name in parquet.read_table(table, ["run"])["run"].to_pylist()]
    return []


def _known(place: str) -> list[str]:
    """The seeds of a folder; RunError if it holds rolls."""
    seeds = _seeds(place)
    rolls = [name for name in files.children(place) if _ROLL.fullmatch(name) and _seeds(files.join(place, name))]
    if rolls and not seeds:
        raise RunError(
            f"{place}: holds {len(rolls)} rolls, which are no ensemble: later ones have learned from dates that "
            f"earlier ones score; name the newest, {files.join(place, rolls[-1])}, to score dates to come; the "
            f"rolls' test dates, each scored by its roll, are in scores/{files.name_of(place)} of the bench"
        )
    return seeds


def _seeds(place: str) -> list[str]:
    found = {name: int(match[1]) for name in files.children(place) if (match := _SEED.fullmatch(name))}
    return [files.join(place, name) for name in sorted(found, key=lambda name: found[name])]


def _finished(folder: str) -> bool:
    return files.exists(files.join(folder, MANIFEST))
