"""Checkpoints of a training, each of which knows whose it is and whether it is whole.

    RUN/checkpoints/checkpoint_<time>/state.pt     where the training stands (``training.state``)
                                      facts.json   hash of the state, epoch, configuration and data it is of; their hash

Facts are written last: a folder without them is what a writer that died has left, and no checkpoint. Ray Train keeps
an index of them, which nothing here relies on: a full disk leaves it empty. A checkpoint counts if its state has the
hash that its facts name, and the one of the latest epoch is gone on from. Which are old is told by their epochs; the
time in their names is UTC's, but once was that of the machine. Configuration and data are those of ``config.identity``
and ``panel.build.fingerprint``.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from raybench.config import Config
from raybench.config.identity import config_hash, differences, learned
from raybench.errors import DataError, RunError
from raybench.storage import files
from raybench.training.state import TrainState, from_bytes, to_bytes

FOLDER = "checkpoints"  # Ray Train's own inside the run directory
STATE, FACTS = "state.pt", "facts.json"
OWN = "facts_sha256"  # of the facts, all else that is in their file
INDEX = "checkpoint_manager_snapshot.json"  # Ray Train's
KEPT = 2  # checkpoints of a training: the newest, and the one before in case that is damaged
DATES = "dates_per_batch"  # of a layout: whole dates in a batch where they follow the number of workers
_PREFIX = "checkpoint_"
_NAME = re.compile(_PREFIX + r"\d{4}-\d\d-\d\d_\d\d-\d\d-\d\d\.\d+")
_SHOWN = 12  # characters of a hash


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """What a training is of: ``config`` as :func:`raybench.config.identity.learned` gives it, and its data.

    ``layout``: what may change when it goes on, but shows in the last digits, such as the number of workers.
    """

    config: Mapping[str, Any]
    data: str
    layout: Mapping[str, Any]

    @classmethod
    def of(cls, config: Config, data: str, **layout: Any) -> Identity:
        """The identity of a training of ``config`` on data with this fingerprint."""
        return cls(config=learned(config), data=data, layout=layout)

    def check(self, there: Identity, where: str) -> None:
        """Raise RunError unless the checkpoint ``where``, which is of ``there``, is one of this training."""
        theirs, ours = config_hash(there.config), config_hash(self.config)
        if theirs != ours:
            raise RunError(
                f"{where} is of another configuration ({theirs[:_SHOWN]}, not {ours[:_SHOWN]}: "
                f"{differences(there.config, self.config)}); remove the folder {FOLDER} or choose another --out"
            )
        if there.data != self.data:
            raise RunError(
                f"{where} is of other data (fingerprint {there.data[:_SHOWN]}, now {self.data[:_SHOWN]}): data.bars or "
                "data.features changed since; bring them back, or train into another --out"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Beginning:
    """How far a training got: the last ``epoch`` that is whole, and where it lies; None for both if there is none.

    ``finished``: it was the last of all. ``notes``: what there is to say when it is gone on from, a line each.
    """

    uri: str | None = None
    epoch: int | None = None
    finished: bool = False
    layout: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def notes_for(self, identity: Identity) -> tuple[str, ...]:
        """What there is to say when a training with this identity goes on."""
        text = differences(self.layout, identity.layout) if self.layout else ""
        if text and self.layout.get(DATES) != identity.layout.get(DATES):
            return (*self.notes, f"goes on with other batches than it began with ({text}): it learns otherwise now")
        other = f"goes on in another way than it began ({text}): equal but for rounding and the draws of dropout"
        return (*self.notes, other) if text else self.notes


@dataclass(frozen=True, slots=True, kw_only=True)
class _Facts:
    sha256: str
    epoch: int
    identity: Identity


def write(folder: Path, state: TrainState, identity: Identity) -> None:
    """Write a checkpoint into a local folder, from which Ray Tune takes it; DataError if it has no room."""
    try:
        for name, data in _contents(state, identity).items():
            (folder / name).write_bytes(data)
    except OSError as error:
        raise DataError(
            f"{folder.parent}: a checkpoint cannot be written there: {error.strerror}; make room, or set TMPDIR to a "
            "folder that has some"
        ) from error


def publish(run: str, state: TrainState, identity: Identity) -> None:
    """Put a checkpoint into the run directory, and delete all but this one and that of the epoch before."""
    name = new_name()
    put(run, name, state, identity)
    _prune_before(run, name, state.epoch)


def put(run: str, name: str, state: TrainState, identity: Identity) -> None:
    """Put a checkpoint of that name into the run directory, its facts last."""
    folder = files.join(run, FOLDER)
    for file, data in _contents(state, identity).items():
        files.publish_bytes(files.join(folder, name, file), data, staging=files.sibling(folder, ".staging"))


def new_name() -> str:
    """The name of a checkpoint that is written now."""
    return f"{_PREFIX}{datetime.now(UTC):%Y-%m-%d_%H-%M-%S.%f}"


def _prune_before(run: str, newest: str, epoch: int) -> None:
    """Delete all but ``newest``, of ``epoch``, and as many as are kept of the epochs before it.

    The training came from one of those, so any other of ``epoch`` or later was given up. One whose facts cannot be
    read goes where enough are left without it.
    """
    folder = files.join(run, FOLDER)
    before: list[tuple[int, str]] = []
    unread: set[str] = set()
    for name in _names(folder):
        try:
            before.append((_facts(files.join(folder, name)).epoch, name))
        except _UnfinishedError:
            continue
        except RunError:
            unread.add(name)
    earlier = sorted((each for each in before if each[0] < epoch), reverse=True)[: KEPT - 1]
    kept = {newest, *(name for _, name in earlier)}
    prune(run, kept if len(kept) == KEPT else kept | unread)


def _contents(state: TrainState, identity: Identity) -> dict[str, bytes]:
    """The files of a checkpoint, in the order in which they are written."""
    data = to_bytes(state)
    facts = {
        "sha256": hashlib.sha256(data).hexdigest(),
        "epoch": state.epoch,
        "config_sha256": config_hash(identity.config),
        "config": identity.config,
        "data_fingerprint": identity.data,
        "layout": identity.layout,
    }
    facts[OWN] = config_hash(facts)
    return {STATE: data, FACTS: (json.dumps(facts, indent=1) + "\n").encode()}


def read(uri: files.Uri) -> TrainState:
    """Read the state of a checkpoint; RunError if it is damaged."""
    return _state(uri, _facts(uri))


def identity_of(uri: files.Uri) -> Identity:
    """What a checkpoint is of; RunError if it is damaged."""
    return _facts(uri).identity


def newest_state(run: str) -> tuple[TrainState, Identity] | None:
    """The state of the latest epoch in the run directory and what it is of; None without any that is whole."""
    folder = files.join(run, FOLDER)
    found: dict[tuple[int, str], str] = {}
    for name in _names(folder):
        with suppress(RunError):
            found[_facts(files.join(folder, name)).epoch, name] = files.join(folder, name)
    for place in sorted(found, reverse=True):
        with suppress(RunError):
            return read(found[place]), identity_of(found[place])
    return None


def newest(run: str, identity: Identity) -> Beginning:
    """Find the checkpoint of the latest epoch that verifies in the run directory.

    RunError if there are some and none verifies, or one is of another configuration or of other data.
    """
    folder = files.join(run, FOLDER)
    damaged: dict[str, str] = {}
    unfinished: dict[str, str] = {}
    known: dict[str, _Facts] = {}
    for name in _names(folder):
        try:
            known[name] = _facts(files.join(folder, name))
        except _UnfinishedError as error:
            unfinished[name] = str(error)
        except RunError as error:
            damaged[name] = str(error)
    for name, facts in known.items():
        identity.check(facts.identity, files.join(folder, name))
    for name in sorted(known, key=lambda name: (known[name].epoch, name), reverse=True):
        uri = files.join(folder, name)
        try:
            state = _state(uri, known[name])
        except RunError as error:
            damaged[name] = str(error)
            continue
        later = [text for other, text in sorted((damaged | unfinished).items()) if _is_later(other, name, known)]
        notes = tuple(f"{text}; going on from epoch {state.epoch}, the last that is whole" for text in later)
        layout = known[name].identity.layout
        return Beginning(uri=uri, epoch=state.epoch, finished=state.finished, layout=layout, notes=notes)
    return Beginning() if not (damaged or unfinished) else _none_whole(run, damaged, unfinished)


def _is_later(name: str, than: str, known: Mapping[str, _Facts]) -> bool:
    """By their epochs, by the time in their names where one cannot be read."""
    if name in known:
        return (known[name].epoch, name) > (known[than].epoch, than)
    return name > than


def _none_whole(run: str, damaged: Mapping[str, str], unfinished: Mapping[str, str]) -> Beginning:
    """Tell first checkpoints that were being written when their writers died, which is no loss, from damage."""
    if not damaged or (len(damaged) == 1 and not files.exists(files.join(run, FOLDER, INDEX))):
        texts = [text for _, text in sorted({**damaged, **unfinished}.items())]
        why = "it was the first" if len(texts) == 1 else f"none of {len(texts)} was finished"
        return Beginning(notes=(f"{texts[-1]}; {why}, so the training begins again",))
    text = sorted(damaged.items())[-1][1]
    raise RunError(
        f"{run}: none of its {len(damaged)} checkpoints is whole ({text}); restore one, remove the folder "
        f"{FOLDER} to begin again, or choose another --out"
    )


def finished_epochs(run: str) -> int:
    """How many epochs the checkpoints of a run hold by their own account: nothing is verified; 0 without any."""
    epochs = [0]
    folder = files.join(run, FOLDER)
    for name in _names(folder):
        with suppress(RunError):
            epochs.append(_facts(files.join(folder, name)).epoch)
    return max(epochs)


def any_left(run: str) -> bool:
    """Tell whether there are checkpoints of a run, whole or damaged."""
    return bool(_names(files.join(run, FOLDER)))


def forget_index(run: str) -> None:
    """Have Ray Train begin an index of its own: it refuses to start over one that is damaged."""
    files.remove(files.join(run, FOLDER, INDEX))


def prune(run: str, keep: Collection[str]) -> None:
    """Delete the checkpoints but those named, such as what a killed training left; what cannot be deleted stays."""
    folder = files.join(run, FOLDER)
    for name in _names(folder):
        if name not in keep:
            with suppress(OSError):
                files.discard(files.join(folder, name))


def _names(folder: str) -> list[str]:
    return [name for name in files.children(folder) if _NAME.fullmatch(name)]


class _UnfinishedError(RunError):
    """A checkpoint has no facts: it was being written when its writer died."""


def _facts(uri: files.Uri) -> _Facts:
    where = files.join(uri, FACTS)
    try:
        data = files.read_if_there(where)
        if data is None and files.exists(uri) and not files.is_folder(uri):
            raise RunError(f"{os.fspath(uri)}: is damaged (a file, where a folder was written)")
        if data is None:
            raise _UnfinishedError(f"{os.fspath(uri)}: is unfinished (no {FACTS})")
        found = json.loads(data)
        written = found.pop(OWN, None)  # older ones have none
        if written is not None and written != config_hash(found):
            raise ValueError("it is not as it was written")
        config, of_data, layout = found["config"], found["data_fingerprint"], found["layout"]
        if config_hash(config) != found["config_sha256"]:
            raise ValueError("its configuration has another hash than it names")
        identity = Identity(config=dict(config), data=str(of_data), layout=dict(layout))
        return _Facts(sha256=str(found["sha256"]), epoch=int(found["epoch"]), identity=identity)
    except DataError as error:
        raise RunError(str(error)) from error
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise RunError(f"{where}: is damaged ({type(error).__name__})") from error


def _state(uri: files.Uri, facts: _Facts) -> TrainState:
    where = files.join(uri, STATE)
    try:
        data = files.read_bytes(where)
    except DataError as error:
        raise RunError(str(error)) from error
    if hashlib.sha256(data).hexdigest() != facts.sha256:
        raise RunError(f"{where}: is damaged ({len(data)} bytes, not those that {FACTS} names)")
    return from_bytes(data)
