"""The run directory: everything a trained model needs to score, and how it came to be.

    config.yaml         resolved configuration, itself a valid CONFIG; written when training starts
    model.safetensors   best weights
    processors.json     fitted state of the processors
    second_processors.json   that of the second window's, if there is one
    memory.safetensors  the last dates of what a network remembers of its losses, if it does
    history.parquet     one row per epoch
    metrics.json        validation metrics of the best epoch
    manifest.json       what, from what, when, with what; hashes of the files above; published last

A run without manifest.json is unfinished. Nothing in it is a pickle.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import safetensors.torch
from torch import Tensor

import raybench
from raybench.config import Config, dump_config
from raybench.config.fused import FUSED
from raybench.config.networks import CustomNetwork
from raybench.errors import DataError, RunError
from raybench.feeds.memory import StoredMemory
from raybench.processors import FittedProcessors
from raybench.reports.plain import plain
from raybench.runs import verified
from raybench.storage import files
from raybench.storage.encoding import encode_table
from raybench.training.state import EpochRecord

if TYPE_CHECKING:  # half a second that reading a run does without
    import pandas as pd

SCHEMA_VERSION = 1
CONFIG, WEIGHTS, PROCESSORS, HISTORY = (
    "config.yaml",
    "model.safetensors",
    "processors.json",
    "history.parquet",
)
METRICS, MANIFEST, SECOND_PROCESSORS = "metrics.json", "manifest.json", "second_processors.json"
MEMORY = "memory.safetensors"
FILES = frozenset({CONFIG, WEIGHTS, PROCESSORS, SECOND_PROCESSORS, MEMORY, HISTORY, METRICS})
"""What a manifest may name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredRun:
    """A finished run, opened and verified. ``second_processors``: of the second window, if it has one.

    ``memory``: what the network remembers of its losses, if it does and was trained here.
    """

    uri: str
    config: Config
    processors: FittedProcessors
    weights: dict[str, Tensor]
    manifest: Mapping[str, Any]
    second_processors: FittedProcessors | None = None
    memory: StoredMemory | None = None

    @property
    def run_id(self) -> str:
        """Hash of manifest and weights: equal for copies of one run, different for any two trainings."""
        return str(self.manifest["run_id"])

    @property
    def fused(self) -> bool:
        """Whether fused recurrent layers (``raybench.models.fused``) trained it, and so score it."""
        return self.manifest.get("recurrent_layers") == FUSED

    @property
    def metrics(self) -> dict[str, float | None]:
        """Validation metrics of the best epoch."""
        with verified.reading(self.uri, METRICS):
            return verified.read_metrics(verified.read_file(self.uri, METRICS))

    @property
    def features(self) -> tuple[str, ...]:
        """The columns that the network is given, in order."""
        return self.processors.columns

    @property
    def warnings(self) -> tuple[str, ...]:
        """What was odd about the data it learned from, a line each."""
        return tuple(map(str, self.manifest.get("warnings", ())))

    @property
    def history(self) -> pd.DataFrame:
        """One row per epoch: losses, validation IC and Rank IC, gradient norm, learning rate, seconds."""
        with verified.reading(self.uri, HISTORY):
            return verified.read_history(files.join(self.uri, HISTORY), _HISTORY_COLUMNS)


def is_finished(uri: str) -> bool:
    """Say whether ``uri`` holds a finished run."""
    return files.exists(files.join(uri, MANIFEST))


def stored_config(uri: str) -> Config | None:
    """Return the configuration the run directory was begun with, None if there is none yet."""
    path = files.join(uri, CONFIG)
    if not files.exists(path):
        return None
    with verified.reading(uri, CONFIG):
        return verified.read_config(verified.read_file(uri, CONFIG), name=path)


def began(uri: str, config: Config) -> bool:
    """Tell whether a training wrote ``config`` there: it is written out in full, as nobody would by hand."""
    return files.read_bytes(files.join(uri, CONFIG)) == dump_config(config).encode()


def begin_run(uri: str, config: Config) -> None:
    """Claim ``uri`` for a training with ``config``."""
    files.publish_bytes(files.join(uri, CONFIG), dump_config(config).encode())


def write_run(
    uri: str,
    *,
    config: Config,
    weights: Mapping[str, Tensor],
    processors: FittedProcessors,
    history: list[EpochRecord],
    best_epoch: int,
    began: datetime,
    facts: Mapping[str, Any],
    second_processors: FittedProcessors | None = None,
    memory: bytes = b"",
) -> StoredRun:
    """Publish a finished run, its manifest last. ``facts`` go into the manifest as they are.

    ``memory``: of ``StoredMemory``, empty if there is none.
    """
    ended = datetime.now(UTC)
    import pandas as pd

    rows = pd.DataFrame([asdict(record) for record in history], columns=_HISTORY_COLUMNS)
    contents = {
        CONFIG: dump_config(config).encode(),
        WEIGHTS: safetensors.torch.save({name: value.contiguous() for name, value in weights.items()}),
        PROCESSORS: processors.to_json().encode(),
        HISTORY: encode_table(pa.Table.from_pandas(rows)),
        METRICS: _json(_metrics(history, best_epoch)),
    }
    if second_processors is not None:
        contents[SECOND_PROCESSORS] = second_processors.to_json().encode()
    if memory:
        contents[MEMORY] = memory
    for name, data in contents.items():
        files.publish_bytes(files.join(uri, name), data)
    manifest: dict[str, Any] = {
        "schema_version": SCHEMA_VERSION,
        "started": began.isoformat(timespec="seconds"),
        "finished": ended.isoformat(timespec="seconds"),
        "seconds": round((ended - began).total_seconds(), 3),
        "seed": config.train.seed,
        "segments": config.model_dump(mode="json")["data"]["segments"],
        "best_epoch": best_epoch,
        "epochs": len(history),
        "versions": {"raybench": raybench.__version__, "torch": version("torch"), "ray": version("ray")},
        "git_commit": _git_commit(),
        "sha256": {name: hashlib.sha256(data).hexdigest() for name, data in contents.items()},
        **facts,
    }
    manifest["run_id"] = _run_id(manifest, contents[WEIGHTS])
    files.publish_bytes(files.join(uri, MANIFEST), _json(manifest))
    return load_run(uri, trust=True)


class UnfinishedRunError(RunError):
    """There is no finished run at an address."""


def load_run(uri: str, *, trust: bool = False, told: bool = True) -> StoredRun:
    """Open a finished run and verify its files against the manifest; RunError says what is wrong.

    Without ``told`` those that only tell of the training, its history and its metrics, are left where they are.
    A network of the trainer's own is code that scoring would import: such a run is opened only with ``trust``.
    """
    manifest = _finished_manifest(uri)
    contents = {CONFIG: _read(uri, CONFIG, manifest)}
    with verified.reading(uri, CONFIG):
        config = verified.read_config(contents[CONFIG], name=files.join(uri, CONFIG))
    if isinstance(config.model, CustomNetwork) and not trust:
        raise RunError(
            f"{uri} asks for its own code {config.model.type}; add --trust (trust=True) if you trust whoever made it"
        )
    most = {WEIGHTS: verified.weight_bytes(config), MEMORY: 2**33}
    for name in sorted(manifest["sha256"].keys() - {CONFIG} - (set() if told else {HISTORY, METRICS})):
        contents[name] = _read(uri, name, manifest, most=most.get(name, verified.TEXT_BYTES))
    if manifest["run_id"] != _run_id(manifest, contents[WEIGHTS]):
        raise RunError(
            f"{files.join(uri, MANIFEST)}: was changed: run_id is not that of what it says and of the weights; "
            "restore the file or train into another --out"
        )
    second_data = config.data.second_data
    if second_data is not None and SECOND_PROCESSORS not in contents:
        raise RunError(
            f"{uri}: {MANIFEST} of the run names no {SECOND_PROCESSORS}; restore it or train into another --out"
        )
    with verified.reading(uri, PROCESSORS):
        names = config.data.feature_set.names
        processors = verified.read_processors(contents[PROCESSORS], config.data, names)
    second = None
    if second_data is not None:
        with verified.reading(uri, SECOND_PROCESSORS):
            names = second_data.feature_set.names
            second = verified.read_processors(contents[SECOND_PROCESSORS], second_data, names)
    with verified.reading(uri, WEIGHTS):
        weights = verified.read_weights(contents[WEIGHTS], config, processors.columns)
    memory = None
    if MEMORY in contents:
        with verified.reading(uri, MEMORY):
            memory = verified.read_memory(contents[MEMORY])
    return StoredRun(
        uri=uri,
        config=config,
        processors=processors,
        weights=weights,
        manifest=manifest,
        second_processors=second,
        memory=memory,
    )


def check_different(runs: Sequence[StoredRun]) -> None:
    """RunError if one of several runs is given twice, by another address or as a copy, too."""
    seen: dict[str, str] = {}
    for run in runs:
        first = seen.get(run.run_id)
        seen[run.run_id] = run.uri
        if first is not None:
            twice = f"{run.uri} is given twice" if first == run.uri else f"{first} and {run.uri} are one run"
            raise RunError(f"{twice} ({run.run_id}); give each run once")


def _read(uri: str, name: str, manifest: Mapping[str, Any], *, most: int = verified.TEXT_BYTES) -> bytes:
    """Read a file of a run that is the one its manifest names."""
    try:
        data = verified.read_file(uri, name, most=most)
    except DataError:
        if files.exists(files.join(uri, name)):
            raise
        raise RunError(
            f"{uri}: {name} is not there, which {MANIFEST} names; restore it or train into another --out"
        ) from None
    if hashlib.sha256(data).hexdigest() != manifest["sha256"][name]:
        raise RunError(f"{uri}: {name} differs from what {MANIFEST} names; restore it or train into another --out")
    return data


def _finished_manifest(uri: str) -> dict[str, Any]:
    """Read the manifest of a run, which is put there last."""
    try:
        with verified.reading(uri, MANIFEST):
            return _manifest(verified.read_file(uri, MANIFEST))
    except RunError:
        if is_finished(uri):
            raise
    raise UnfinishedRunError(
        f"{uri} is not a finished run: it has no {MANIFEST}; wanted the --out of a `raybench train` that ended "
        "(go on with --resume)"
    )


def _manifest(data: bytes) -> dict[str, Any]:
    """Read what a run says of itself, if that is what this version writes."""
    manifest = verified.read_json(data)
    found = manifest.get("schema_version")
    if found != SCHEMA_VERSION:
        raise ValueError(
            f"schema version {str(found)[:20]}, wanted {SCHEMA_VERSION}; open the run with the raybench that wrote it"
        )
    verified.check_manifest(manifest, FILES, frozenset({CONFIG, WEIGHTS, PROCESSORS, HISTORY, METRICS}))
    return manifest


def _run_id(manifest: Mapping[str, Any], weights: bytes) -> str:
    """Hash of what a manifest says beside its id, and of the weights."""
    said = {key: value for key, value in manifest.items() if key != "run_id"}
    return hashlib.sha256(_json(said) + weights).hexdigest()[:16]


_HISTORY_COLUMNS = list(EpochRecord.__dataclass_fields__)


def _metrics(history: list[EpochRecord], best_epoch: int) -> dict[str, float | None]:
    """Return validation metrics of the best epoch; none for weights that were trained elsewhere."""
    if not history:
        return {}
    best = asdict(history[best_epoch - 1])
    names = ("train_loss", "valid_loss", "valid_ic", "valid_rank_ic")
    # an IC that no date has is null
    figures: dict[str, float | None] = plain({name: best[name] for name in names})
    return {"best_epoch": best_epoch} | figures


def _json(value: Any) -> bytes:
    return (json.dumps(value, indent=2, sort_keys=True) + "\n").encode()


def _git_commit() -> str | None:
    """Return the commit of the checkout raybench runs from, None when it is installed."""
    root = Path(__file__).parents[2]
    if not (root / ".git").exists():
        return None
    done = subprocess.run(["git", "-C", str(root), "rev-parse", "HEAD"], capture_output=True, text=True)
    return done.stdout.strip() or None
