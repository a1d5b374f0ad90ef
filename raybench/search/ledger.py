"""What became of the trials of a search: a row for each, kept while it runs and read again when it goes on.

``trials.parquet``: trial_id, status (running, stopped, done, failed), epochs, metric (the one searched by, of the
epoch whose weights are kept; NaN without one), a column for each key searched (null where a trial has no such key),
best_epoch, seconds (training and validation), stopped_epoch (the epoch after which the scheduler ended it, null for
others), tries (times that it was begun), error (null where it went well).
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import pandas as pd
import pyarrow as pa

from raybench.config.search_space import Values
from raybench.errors import RunError
from raybench.storage import files
from raybench.storage.parquet import AGAIN, DamagedError, read_metadata

TABLE, TRIALS = "trials.parquet", "trials"
RUNNING, STOPPED, DONE, FAILED = "running", "stopped", "done", "failed"
ENDED = (STOPPED, DONE, FAILED)
_STORED = "raybench.trials"
SCHEMA_VERSION = 1


def trial_id(number: int) -> str:
    """How a trial is called, and its folder below ``trials``."""
    return f"{number:04d}"


def trial_folder(out: str, number: int) -> str:
    """Where a trial's run is kept: its configuration and its checkpoints."""
    return files.join(out, TRIALS, trial_id(number))


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialRecord:
    """One trial as it stands; ``metric`` is the one searched by, as it is (a loss is a loss).

    ``lost``: it failed since its process went, as another may not.
    """

    number: int
    values: Values
    status: str = RUNNING
    epochs: int = 0
    best_epoch: int = 0
    metric: float = math.nan
    seconds: float = 0.0
    stopped_epoch: int | None = None
    tries: int = 0
    error: str | None = None
    lost: bool = False


@dataclass(slots=True)
class Ledger:
    """The trials of the search at ``out``; ``keys`` are those searched, in the order of the configuration.

    ``data``: fingerprints of the data that trials learn from, by the key of their spec.
    """

    out: str
    keys: Sequence[str]
    mode: str
    records: dict[int, TrialRecord] = field(default_factory=dict)
    data: dict[str, str] = field(default_factory=dict)

    @classmethod
    def opened(cls, out: str, keys: Sequence[str], mode: str) -> Ledger:
        """The ledger as an earlier command left it, an empty one where there is none. RunError if it is damaged."""
        ledger, uri = cls(out=out, keys=keys, mode=mode), files.join(out, TABLE)
        if not files.exists(uri):
            return ledger
        try:
            stored = json.loads(read_metadata(uri)[_STORED])
            if stored["schema_version"] != SCHEMA_VERSION:
                raise ValueError(f"version {stored['schema_version']}")
            ledger.data = {str(key): str(known) for key, known in stored["data"].items()}
            for row in stored["trials"]:
                metric = math.nan if row["metric"] is None else float(row["metric"])
                record = TrialRecord(**{**row, "metric": metric})
                ledger.records[record.number] = record
        except DamagedError as error:
            raise RunError(
                f"{str(error).removesuffix(AGAIN)}; remove it and go on with --resume, by the checkpoints of its "
                "trials, or search into another --out"
            ) from None
        except (KeyError, TypeError, ValueError) as error:
            raise RunError(f"{uri}: is no table of trials that this version wrote ({error}); remove it") from error
        return ledger

    def put(self, record: TrialRecord) -> TrialRecord:
        """Enter a trial as it stands now, or change it."""
        self.records[record.number] = record
        return record

    def change(self, number: int, **facts: Any) -> TrialRecord:
        """Change what is known of a trial."""
        return self.put(replace(self.records[number], **facts))

    def on_data(self, data: Mapping[str, str]) -> None:
        """Note the data that trials are to learn from; RunError if those that began learned from others."""
        for key, known in data.items():
            if self.data.get(key, known) != known:
                raise RunError(
                    f"{self.out} was begun on other data (fingerprint {self.data[key][:12]}, now {known[:12]}): "
                    "bring them back, or search into another --out"
                )
        self.data |= data

    def ended(self) -> dict[int, TrialRecord]:
        """Trials that came to an end, whichever, but for those that were lost: these are worth another try."""
        return {n: record for n, record in self.records.items() if record.status in ENDED and not record.lost}

    def best(self, *statuses: str) -> TrialRecord | None:
        """The trial with the best metric among those of ``statuses`` (all without any); the first of equal ones."""
        sign = 1.0 if self.mode == "max" else -1.0
        known = [
            record
            for record in self.records.values()
            if math.isfinite(record.metric) and record.best_epoch and (record.status in statuses or not statuses)
        ]
        return min(known, key=lambda record: (-sign * record.metric, record.number), default=None)

    def frame(self) -> pd.DataFrame:
        """The table, best trial first, failed ones last."""
        sign = -1.0 if self.mode == "max" else 1.0
        order = sorted(
            self.records.values(),
            key=lambda record: (math.isnan(record.metric), sign * record.metric, record.number),
        )
        names = list(dict.fromkeys([*self.keys, *(key for record in order for key in record.values)]))
        columns: dict[str, Any] = {
            "trial_id": [trial_id(record.number) for record in order],
            "status": [record.status for record in order],
            "epochs": pd.array([record.epochs for record in order], dtype="int64"),
            "metric": pd.array([record.metric for record in order], dtype="float64"),
        }
        columns |= {name: _column([record.values.get(name) for record in order]) for name in names}
        columns |= {
            "best_epoch": pd.array([record.best_epoch for record in order], dtype="int64"),
            "seconds": pd.array([record.seconds for record in order], dtype="float64"),
            "stopped_epoch": pd.array([record.stopped_epoch for record in order], dtype="Int64"),
            "tries": pd.array([record.tries for record in order], dtype="int64"),
            "error": pd.array([record.error for record in order], dtype="string"),
        }
        return pd.DataFrame(columns)

    def publish(self) -> None:
        """Write the table where it belongs."""
        rows = []
        for number in sorted(self.records):
            record = self.records[number]
            metric = None if math.isnan(record.metric) else record.metric
            rows.append({**asdict(record), "values": dict(record.values), "metric": metric})
        stored = json.dumps({"schema_version": SCHEMA_VERSION, "data": self.data, "trials": rows})
        table = pa.Table.from_pandas(self.frame(), preserve_index=False)
        files.publish_table(files.join(self.out, TABLE), table, metadata={_STORED: stored})


def _column(values: Sequence[Any]) -> Any:
    """One key's values: numbers as numbers, all else as text, so that any reader opens the column."""
    known = [value for value in values if value is not None]
    if known and all(type(value) is bool for value in known):
        return pd.array(list(values), dtype="boolean")
    if known and all(type(value) is int for value in known):
        return pd.array(list(values), dtype="Int64")
    if known and all(type(value) in (int, float) for value in known):
        return pd.array([math.nan if value is None else float(value) for value in values], dtype="Float64")
    return pd.array([None if value is None else _text(value) for value in values], dtype="string")


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
