"""What a morning reads, told by names, sizes, times and fingerprints, so that it is known whether any of it is new."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import Any

from raybench.config.daily import DailyConfig, DailyImport, DailyScore
from raybench.market.bars import open_bars
from raybench.runs.folders import MANIFEST, folders_below, run_folders
from raybench.storage import files
from raybench.storage.places import METADATA


@dataclass(frozen=True, slots=True, kw_only=True)
class Beside:
    """What the runs read beside the bars: the bars of a second window, a concept table; None where they do not."""

    second: str | None = None
    concepts: str | None = None

    def to_json(self) -> dict[str, str | None]:
        """Write it as a note has it."""
        return asdict(self)

    @classmethod
    def of_json(cls, said: Any) -> Beside:
        """Read what ``to_json`` wrote; nothing if it is something else."""
        known = said if isinstance(said, dict) else {}
        return cls(second=known.get("second"), concepts=known.get("concepts"))

    def stamp(self) -> str:
        """A hash of what is there."""
        second = None if self.second is None else fingerprint_of(self.second)
        return hash_of([second, None if self.concepts is None else sorted(files.stamps(self.concepts).items())])


def beside_of(given: DailyScore) -> tuple[Beside, set[str]]:
    """What the runs read beside the bars, and which universes they score."""
    from raybench.runs.artifact import stored_config

    configs = [stored_config(folder) for model in given.model for folder in run_folders(model)]
    data = [config.data for config in configs if config is not None]
    second = next((each.second.bars for each in data if each.second is not None), None)
    concepts = next((each.concepts for each in data if each.concepts is not None), None)
    beside = Beside(second=given.second or second, concepts=given.concepts or concepts)
    return beside, {each.universe for each in data}


def seen_of(given: DailyImport) -> str:
    """A hash of what there is to import, by names, sizes and times: nothing is read."""
    places = [given.source, *given.universe.values(), *([given.calendar] if given.calendar else [])]
    found = [[place, sorted(files.stamps(place).items())] for place in places]
    return hash_of([found, given.model_dump(mode="json", by_alias=True)])


def asked_of(config: DailyConfig) -> str:
    """A hash of how to score, and with which runs."""
    manifests = [each for model in config.score.model for each in _manifests(model)]
    return hash_of([config.score.model_dump(mode="json", by_alias=True), manifests])


def _manifests(model: str) -> list[str | None]:
    """A hash of the manifest of each run that an address stands for: one that was trained again, or added, shows."""
    alone = files.read_if_there(files.join(model, MANIFEST))
    folders = () if alone is not None else folders_below(model)
    every = [alone] if alone is not None else [files.read_if_there(files.join(f, MANIFEST)) for f in folders]
    return [None if data is None else hashlib.sha256(data).hexdigest() for data in every]


def fingerprint_of(bars: str) -> str | None:
    """That of a dataset; None if there is none."""
    return open_bars(bars).fingerprint if files.exists(files.join(bars, METADATA)) else None


def hash_of(value: Any) -> str:
    """A hash of plain values."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()[:32]
