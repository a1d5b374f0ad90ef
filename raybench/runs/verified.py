"""Reading a run directory that somebody may have changed: every file says by its name what is wrong with it.

What was written is read back exactly, so whatever a parser raises here means a file that is not what was written.
Nothing large is made before sizes are known to fit: files are looked at before they are read, and the shapes of
weights are compared with the network's without making it.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import safetensors.torch
import torch
from torch import Tensor

from raybench import models
from raybench.config import Config, parse_config
from raybench.config.data.spec import DataConfig
from raybench.config.networks import CustomNetwork
from raybench.errors import RunError
from raybench.feeds.memory import StoredMemory
from raybench.processors import FittedProcessors
from raybench.processors.base import ColumnFilter, Elementwise
from raybench.processors.fitted import FittedStep, changes_features, make_processor
from raybench.reports.text import numbered
from raybench.storage import files as storage
from raybench.storage import parquet
from raybench.storage.whole import read_whole

if TYPE_CHECKING:
    import pandas as pd

TEXT_BYTES = 64 * 2**20
"""The most that a file of text in a run is read of: a thousand times the largest there should be."""

_KINDS: Mapping[str, type | tuple[type, ...]] = {
    "run_id": str,
    "seed": int,
    "epochs": int,
    "best_epoch": int,
    "parameters": int,
    "seconds": (int, float),
    "started": str,
    "finished": str,
    "model": str,
    "data_fingerprint": str,
    "segments": dict,
    "samples": dict,
    "versions": dict,
    "workers": dict,
    "recurrent_layers": (str, type(None)),
    "data": dict,
    "adopted_from": dict,
    "sha256": dict,
}
"""What the entries of a manifest are, where they are there."""


@contextlib.contextmanager
def reading(uri: str, name: str) -> Iterator[None]:
    """Say of whatever goes wrong in the block that it is ``name`` in the run ``uri`` that cannot be used."""
    try:
        yield
    except Exception as error:
        text = " ".join(str(error).split()) or type(error).__name__
        if isinstance(error, RecursionError):
            text = "it is nested too deeply"
        place = storage.join(uri, name)
        where = text if text.startswith(f"{place}:") else f"{place}: {text[:400]}"
        raise RunError(f"{where}; restore the file or train into another --out") from None


def read_file(uri: str, name: str, *, most: int = TEXT_BYTES) -> bytes:
    """Read a file of a run; RunError if it has more than ``most`` bytes."""
    path = storage.join(uri, name)

    def fits(size: int) -> None:
        if size > most:
            raise RunError(
                f"{path}: has {size:,} bytes, and {most:,} are the most; restore the file or train into another --out"
            )

    return read_whole(path, fits)


def read_json(data: bytes) -> dict[str, Any]:
    """Read an object written as JSON."""
    found = json.loads(data.decode())
    if not isinstance(found, dict):
        raise ValueError(f"want an object with keys, found {type(found).__name__}")
    return found


def check_manifest(manifest: Mapping[str, Any], files: frozenset[str], needed: frozenset[str]) -> None:
    """Refuse what a run cannot say of itself: entries of another kind, files that a run does not have, none of some."""
    for key, kind in _KINDS.items():
        value = manifest.get(key)
        if key in manifest and (not isinstance(value, kind) or isinstance(value, bool)):
            raise ValueError(f"{key} is {str(value)[:40]!r}, which it cannot be")
    hashes = manifest.get("sha256", {})
    if "run_id" not in manifest or (missing := sorted(needed - hashes.keys())):
        raise ValueError(f"is incomplete: there is no {'run_id' if 'run_id' not in manifest else missing[0]}")
    for name, digest in hashes.items():
        if name not in files or not isinstance(digest, str):
            raise ValueError(f"sha256 names {name[:40]!r}, which is no file of a run")


def weight_bytes(config: Config) -> int:
    """The most that the weights of a run of ``config`` can take as a file: twice float64, and what is no parameter."""
    model = config.model.under(config.recipe)
    features = config.data.num_features
    count = None if features is None else model.parameter_count(features, config.data.step_len)
    if not count or model.fitting == "direct":
        return 2**33
    if (second := config.data.second_features) is not None:
        count += model.second_parameters(second)
    return 16 * count + 64 * 2**20


def read_config(data: bytes, *, name: str) -> Config:
    """Read the configuration of a run."""
    return parse_config(data.decode(), name=name)


def read_processors(data: bytes, of: DataConfig, names: tuple[str, ...] | None) -> FittedProcessors:
    """Read fitted processors and compare them with those of the configuration; ``names``: the features, if known."""
    found = FittedProcessors.from_json(data.decode())
    if not all(isinstance(name, str) for name in found.table_columns):
        raise ValueError("table_columns holds something that is no name")
    if names is not None and found.table_columns != names:
        raise ValueError(f"table_columns are not the {numbered(len(names), 'feature|features')} of config.yaml")
    for part, steps in (("infer", found.infer), ("learn", found.learn)):
        wanted = [make_processor(spec) for spec in getattr(of.processors, part)]
        if [step.processor for step in steps] != wanted:
            raise ValueError(f"the {part} processors are not those of config.yaml")
    columns = found.table_columns
    for step in (*found.infer, *found.learn):
        if isinstance(step.processor, ColumnFilter):
            columns = step.processor.select(columns)
        _check_numbers(step, len(found.columns))
    return found


def _check_numbers(step: FittedStep, width: int) -> None:
    """Refuse parameters of another number than the processor has, for each of ``width`` columns."""
    processor, name = step.processor, type(step.processor).__name__
    wanted = processor.num_params if isinstance(processor, Elementwise) else 0
    of_feature = wanted if changes_features(processor) else 0
    of_label = wanted if "label" in processor.groups else 0
    shape = (0, width) if step.feature_PF is None else step.feature_PF.shape
    if shape != (of_feature, width) or len(step.label or ()) not in (of_label, 0):
        raise ValueError(f"{name} has parameters {list(shape)}, wanted {[of_feature, width]}")


def read_weights(data: bytes, config: Config, columns: tuple[str, ...]) -> dict[str, Tensor]:
    """Read weights and compare them, by name and shape, with the network, which is not made for it.

    A network of the trainer's own is not looked at: to import it would run its code.
    """
    weights = safetensors.torch.load(data)
    if isinstance(config.model, CustomNetwork) or config.model.type == "lightgbm":
        return weights
    with torch.random.fork_rng(devices=[]), torch.device("meta"):
        network = models.build(
            config.model.model_dump(),
            feature_set={"type": config.data.feature_set.type, "columns": list(columns)},
            step_len=config.data.step_len,
            recipe=config.recipe,
            second_features=config.data.second_features,
        )
    wanted = network.state_dict()
    if differing := sorted(wanted.keys() ^ weights.keys()):
        which = "is missing" if differing[0] in wanted else "is there, and not in the network"
        raise ValueError(f"holds weights of another network than config.yaml names: {differing[0]} {which}")
    for name, value in wanted.items():
        if weights[name].shape != value.shape:
            shapes = f"{list(weights[name].shape)}, wanted {list(value.shape)}"
            raise ValueError(f"holds weights of another size than config.yaml asks for: {name} is {shapes}")
    return weights


def read_memory(data: bytes) -> StoredMemory:
    """Read what a network remembers of its losses."""
    memory = StoredMemory.from_bytes(data)
    if memory.loss_NTK.ndim != 3 or memory.loss_NTK.shape[:2] != (len(memory.instruments), len(memory.dates)):
        raise ValueError(f"losses are {list(memory.loss_NTK.shape)}, not [instruments, dates, predictors]")
    return memory


def read_metrics(data: bytes) -> dict[str, float | None]:
    """Read validation metrics."""
    found = read_json(data)
    for name, value in found.items():
        if value is not None and (isinstance(value, bool) or not isinstance(value, (int, float))):
            raise ValueError(f"{name} is no number")
    return found


def read_history(uri: str, columns: list[str]) -> pd.DataFrame:
    """Read one row per epoch."""
    frame: pd.DataFrame = parquet.read_table(uri).to_pandas()
    if missing := [name for name in columns if name not in frame]:
        raise ValueError(f"has no column {missing[0]}")
    if text := [name for name in columns if len(frame) and getattr(frame[name].dtype, "kind", "O") not in "iufb"]:
        raise ValueError(f"column {text[0]} holds no numbers")
    return frame
