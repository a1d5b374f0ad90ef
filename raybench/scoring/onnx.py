"""A run's network as one ONNX file, for programs without torch.

Shapes: input ``x`` [N, W, F] float32, output ``score`` [N] float32; N is free, W and F are the run's. To a
network that compares instruments, the N windows are those of one date. What a network is given beside windows
(HIST's ``concepts`` [N, K], TRA's ``hist_loss``, a ``second`` window) are inputs by that name. Windows have been
through the run's processors, and their columns lie as the metadata's ``columns`` say.

The file is run by onnxruntime on several numbers of windows before anybody sees it, and refused if its scores
are not the network's.
"""

from __future__ import annotations

import json
import logging
import os
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from importlib.util import find_spec
from io import StringIO
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram

from raybench import models
from raybench.config import FeatureSet
from raybench.errors import DataError, RunError, in_one_line
from raybench.models.interface.inputs import extra_inputs
from raybench.processors import FittedProcessors
from raybench.runs.artifact import StoredRun, load_run
from raybench.storage import files
from raybench.storage.places import Kind, refuse_below_a_file, refuse_unwritable, refuse_within

WINDOWS, SECOND, SCORE = "x", "second", "score"
EXAMPLE = 5  # windows to trace with: neither 1, which may mean something else, nor a number of the network's own
TRIED = (1, 2, 64)  # windows per pass when the file is compared with the network
ANY = 7  # how many there are for the comparison where any number will do, such as concepts
MARKS = frozenset({"run_id", "feature_set", "columns", "step_len"})  # in the metadata of every file that is written
TOLERANCE = 1e-5  # of the largest score, or of 1

Axes = Mapping[str, tuple[str | int, ...]]
"""Inputs by name: how long each axis is, or what it is called where any length will do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OnnxExport:
    """What was written. ``difference``: the largest between onnxruntime's scores and the network's."""

    uri: str
    run_id: str
    inputs: Axes
    difference: float
    bytes: int


def export_onnx(model: str, *, to: str, trust: bool = False) -> OnnxExport:
    """Write the network of the run ``model`` to the file ``to``, local or s3://, whole or not at all.

    RunError if the network cannot be written as ONNX, or onnxruntime computes other scores from the file.
    """
    _require_onnx()
    to = files.open_location(to).uri
    _refuse_others(to)
    run = load_run(model, trust=trust)
    kind = run.config.model.type
    if not run.config.model.traceable:
        raise RunError(f"{run.uri} holds {kind}, which is no computation of tensors and has no form in ONNX")
    network, axes = _network_of(run)
    try:
        data = encode(traced(network, axes), axes, metadata=_metadata(run))
    except Exception as error:  # whatever torch raises where a network does what it cannot trace
        raise RunError(
            f"{run.uri}: network {kind} cannot be written as ONNX: {in_one_line(error.__cause__ or error)}"
        ) from error
    difference = largest_difference(data, network, axes)
    if not difference <= TOLERANCE:
        raise RunError(
            f"{run.uri}: network {kind} scores differently in onnxruntime, by {difference:.1e} of its largest score "
            f"where {TOLERANCE:.0e} is allowed; nothing was written"
        )
    files.publish_bytes(to, data)
    return OnnxExport(uri=to, run_id=run.run_id, inputs=axes, difference=difference, bytes=len(data))


def traced(network: nn.Module, axes: Axes) -> ExportedProgram:
    """Trace a network in evaluation mode, for inputs of any number of samples."""
    free = {axis: torch.export.Dim(axis) for places in _free(axes).values() for axis in places.values()}
    shapes = {name: {place: free[axis] for place, axis in places.items()} for name, places in _free(axes).items()}
    given = _drawn(axes, EXAMPLE, seed=0)
    with _quiet():
        return torch.export.export(network, (given.pop(WINDOWS),), given, dynamic_shapes=shapes)


def encode(program: ExportedProgram, axes: Axes, *, metadata: Mapping[str, str]) -> bytes:
    """Write a traced network as the bytes of an ONNX file."""
    import onnx

    with _quiet():
        made = torch.onnx.export(
            program, input_names=list(axes), output_names=[SCORE], dynamic_shapes=_free(axes), verbose=False
        )
    assert made is not None, "without a file name there is a program"
    proto: Any = made.model_proto
    onnx.helper.set_model_props(proto, dict(metadata))
    onnx.checker.check_model(proto)
    return bytes(proto.SerializeToString())


@torch.no_grad()
def largest_difference(data: bytes, network: nn.Module, axes: Axes) -> float:
    """Score what is drawn with onnxruntime and with the network -> largest difference, see TOLERANCE."""
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # and no file for it in a home that may not be there
    import onnxruntime

    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    largest, scale = 0.0, 1.0
    for number in TRIED:
        given = _drawn(axes, number, seed=number)
        (found,) = session.run([SCORE], {name: value.numpy() for name, value in given.items()})
        expected_N: Tensor = network(given.pop(WINDOWS), **given)
        if found.shape != tuple(expected_N.shape):
            return float("inf")
        largest = max(largest, float((torch.from_numpy(found) - expected_N).abs().max()))
        scale = max(scale, float(expected_N.abs().max()))
    return largest / scale


def _network_of(run: StoredRun) -> tuple[nn.Module, Axes]:
    """Build the network with its weights, for scoring, and say what it is given."""
    data = run.config.data
    network = models.build(
        run.config.model.model_dump(),
        feature_set={"type": data.feature_set.type, "columns": list(run.processors.columns)},
        step_len=data.step_len,
        recipe=run.config.recipe,
        second_features=data.second_features,
    )
    network.load_state_dict({name: value.float() for name, value in run.weights.items()})
    axes = axes_of(network, data.step_len, len(_columns(data.feature_set, run.processors)))
    if data.second is not None:
        axes = {**axes, SECOND: ("N", data.second.step_len, *axes[SECOND][2:])}
    return network.eval(), axes


def _metadata(run: StoredRun) -> dict[str, str]:
    """Say what a reader of the file has to know of its inputs."""
    data = run.config.data
    facts = {
        "run_id": run.run_id,
        "model": run.config.model.type,
        "feature_set": data.feature_set.type,
        "columns": json.dumps(_columns(data.feature_set, run.processors)),
        "step_len": str(data.step_len),
    }
    if data.second is not None and run.second_processors is not None:
        facts["second_columns"] = json.dumps(_columns(data.second.feature_set, run.second_processors))
        facts["second_step_len"] = str(data.second.step_len)
    return facts


def _columns(feature_set: FeatureSet, processors: FittedProcessors) -> tuple[str, ...]:
    """Name the columns of a window, in their order."""
    return models.feature_names({"type": feature_set.type, "columns": list(processors.columns)})


def axes_of(network: nn.Module, step_len: int, num_features: int) -> Axes:
    """Say what a network is given."""
    more = extra_inputs(network).items()
    windows: Axes = {WINDOWS: ("N", step_len, num_features)}
    return {**windows, **{name: ("N", *(size or name for size in sizes)) for name, sizes in more}}


def _free(axes: Axes) -> dict[str, dict[int, str]]:
    """Name the axes that may have any length, by input and place."""
    return {
        name: {place: length for place, length in enumerate(lengths) if isinstance(length, str)}
        for name, lengths in axes.items()
    }


def _drawn(axes: Axes, number: int, *, seed: int) -> dict[str, Tensor]:
    """Draw inputs for ``number`` samples."""
    draw = torch.Generator().manual_seed(seed)

    def one(name: str, lengths: tuple[str | int, ...]) -> Tensor:
        sizes = [number, *(ANY if isinstance(length, str) else length for length in lengths[1:])]
        return torch.randn(sizes, generator=draw).clamp(-3, 3) if name == WINDOWS else torch.rand(sizes, generator=draw)

    return {name: one(name, lengths) for name, lengths in axes.items()}


def _refuse_others(to: str) -> None:
    """Raise DataError unless ``to`` is free, or a file that this wrote before."""
    refuse_below_a_file(to, option="--to")
    if files.is_folder(to):
        raise DataError(f"--to is {to}, which is a folder; want a file, such as {files.join(to, 'model.onnx')}")
    if files.exists(to) and not _is_ours(files.read_bytes(to)):
        raise DataError(f"--to is {to}, a file that no export of raybench wrote; want a new file (change --to)")
    refuse_within(to, Kind.FILE, option="--to")
    refuse_unwritable(to, option="--to")


def _is_ours(data: bytes) -> bool:
    import onnx

    try:
        found = {each.key for each in onnx.load_model_from_string(data).metadata_props}
    except Exception:  # whatever protobuf raises for what is none of its messages
        return False
    return found >= MARKS


def _require_onnx() -> None:
    missing = [name for name in ("onnx", "onnxruntime", "onnxscript") if find_spec(name) is None]
    if missing:
        raise RunError(f"--format onnx needs {', '.join(missing)}; pip install 'raybench[onnx]'")


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporter's own lines, warnings and log away."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir")]
    before = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        with warnings.catch_warnings(), redirect_stdout(StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)
