"""The folder of a search: what it is a search of, what came of it, and whether another may go on in it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pandas as pd

import raybench
from raybench.config import Config, dump_config, parse_config
from raybench.config.identity import config_hash, differences, differing, learned
from raybench.errors import RunError
from raybench.reports.cards import ResultCard
from raybench.reports.plain import plain
from raybench.runs import artifact
from raybench.search.draws import told
from raybench.search.ledger import TABLE, Ledger, TrialRecord, trial_id
from raybench.storage import files
from raybench.storage.places import SEARCH

RESULT, BEST = "search.json", "best"
SCHEMA_VERSION = 1
FREE_TO_CHANGE = ("resources_per_trial", "max_concurrent")  # of the part tune, when a search goes on


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class SearchResult(ResultCard):
    """What a search came to: its trials, the best of them as a run, and that run's metrics on test dates.

    ``test`` is empty where the data have no date of the test segment yet.
    """

    uri: str
    trials: pd.DataFrame
    best: artifact.StoredRun
    best_trial: TrialRecord
    test: Mapping[str, Any]
    seconds: float
    warnings: tuple[str, ...] = ()

    @property
    def report(self) -> str:
        """Address of the page."""
        return files.join(self.uri, "report.html")

    def card(self) -> tuple[str, Mapping[str, Any]]:
        """The winner, for a prompt or a notebook."""
        counts = self.trials["status"].value_counts()
        return f"search {self.uri}", {
            "trials": ", ".join(f"{count} {status}" for status, count in counts.items()),
            "best": f"trial {trial_id(self.best_trial.number)}: {told(self.best_trial.values)}",
            "valid metric": f"{self.best_trial.metric:.4f}",
            **{f"test {name}": self.test[name] for name in ("Rank IC",) if name in self.test},
            "report": self.report,
        }


def is_finished(out: str) -> bool:
    """Whether ``out`` holds a search that came to its end."""
    return files.exists(files.join(out, RESULT))


def load_search(out: str) -> SearchResult:
    """Open a finished search; RunError if it is not one, or is damaged."""
    if not is_finished(out):
        raise RunError(f"{out} is not a finished search: it has no {RESULT}; go on with raybench tune and --resume")
    config = stored_config(out)
    assert config is not None
    try:
        said = json.loads(files.read_bytes(files.join(out, RESULT)))
        if said["schema_version"] != SCHEMA_VERSION:
            raise ValueError(f"version {said['schema_version']}")
        ledger = Ledger.opened(out, list(config.search_space), config.tune.mode)
        return SearchResult(
            uri=out,
            trials=ledger.frame(),
            best=artifact.load_run(files.join(out, BEST), trust=True),
            best_trial=ledger.records[int(said["best_trial"])],
            test=said["test"],
            seconds=float(said["seconds"]),
            warnings=tuple(said["warnings"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise RunError(f"{files.join(out, RESULT)}: is damaged ({error}); search again into another --out") from error


def write_result(
    out: str,
    config: Config,
    ledger: Ledger,
    best: artifact.StoredRun,
    winner: TrialRecord,
    *,
    test: Mapping[str, Any],
    warnings: Sequence[str],
    seconds: float,
) -> None:
    """Publish what came of a search, which finishes it."""
    said = {
        "schema_version": SCHEMA_VERSION,
        "config_sha256": config_hash(asked(config)),
        "best_trial": winner.number,
        "run_id": best.run_id,
        "values": dict(winner.values),
        "metric": config.tune.metric,
        "valid": winner.metric,
        "test": test,
        "trials": len(ledger.records),
        "seconds": round(seconds, 3),
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        "raybench": raybench.__version__,
        "warnings": list(warnings),
    }
    files.publish_bytes(files.join(out, RESULT), (json.dumps(plain(said), indent=2) + "\n").encode())


def claim(out: str, config: Config, *, resume: bool) -> None:
    """Refuse a folder that holds another search, one that nobody asked to go on with, or a file of that name."""
    stored = stored_config(out)
    if stored is None:
        return
    refuse_other(out, config)
    ours = dump_config(stored).encode()  # written out in full, as nobody would by hand
    if files.read_bytes(files.join(out, SEARCH)) != ours and not files.exists(files.join(out, TABLE)):
        raise RunError(f"{out} holds a {SEARCH} that no search of this version wrote; choose another --out")
    if not resume:
        raise RunError(f"{out} holds an unfinished search of this configuration; add --resume or choose another --out")


def stored_config(out: str) -> Config | None:
    """The configuration that a folder is a search of, None if it is none yet."""
    place = files.join(out, SEARCH)
    return parse_config(files.read_text(place), name=place) if files.exists(place) else None


def refuse_other(out: str, config: Config) -> None:
    """Raise RunError unless ``out`` is a search of this configuration."""
    stored = stored_config(out)
    if stored is None:
        raise RunError(f"{out} holds a search without its {SEARCH}; restore it or choose another --out")
    there, here = asked(stored), asked(config)
    if differing(there, here):
        raise RunError(
            f"{out} holds a search of another configuration ({differences(there, here)}); "
            "choose another --out or remove it"
        )


def asked(config: Config) -> dict[str, Any]:
    """What makes two searches the same, as plain values by dotted key."""
    tune = config.tune.model_dump(mode="json", by_alias=True, exclude={"space"})
    space = {key: each.model_dump(mode="json") for key, each in config.search_space.items()}
    said = {f"tune.{key}": value for key, value in tune.items() if key not in FREE_TO_CHANGE}
    return {**learned(config), **said, **{f"tune.space.{key}": value for key, value in space.items()}}


def kept(out: str) -> str:
    """Say what an interrupted search left and how to go on."""
    try:
        ledger = Ledger.opened(out, (), "max")
    except RunError:
        return f"{out} is as it was"
    count, ended = len(ledger.records), len(ledger.ended())
    if not count:
        return f"no trial of {out} was begun; begin again with the same command"
    best = files.join(out, BEST)
    left = f", the best so far in {best}" if artifact.is_finished(best) else ""
    return f"{ended} of {count} trials begun have ended and are kept in {out}{left}; go on with --resume"
