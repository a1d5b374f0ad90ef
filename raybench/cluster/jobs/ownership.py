"""Whose a run directory is: whether a training may write it, go on in it, or take what is there for its result."""

from __future__ import annotations

from collections.abc import Callable

from raybench.config import Config
from raybench.config.identity import data_places, differences, differing, learned
from raybench.config.panel_spec import PanelSpec
from raybench.errors import DataError, RunError
from raybench.runs import artifact
from raybench.storage import files
from raybench.training import checkpoints
from raybench.training.sources import fingerprint_now

LENGTH = ("train.max_epochs", "train.early_stop.patience")  # when a training ends

Say = Callable[[str], None]
"""Where a line goes."""


def claim(out: str, config: Config, *, resume: bool) -> bool:
    """Check that ``out`` may be written by a training of ``config``; True if it already holds its result.

    A training that ended before its first checkpoint leaves nothing that another one could spoil.
    """
    stored = artifact.stored_config(out)
    if stored is None:
        return False
    if not learned_at(out):
        if artifact.began(out, stored):
            return False
        _refuse_other(out, stored, config)
        raise RunError(f"{out} holds a {artifact.CONFIG} that no training of this version wrote; choose another --out")
    _refuse_other(out, stored, config)
    if artifact.is_finished(out):
        return True
    if not resume:
        raise RunError(f"{out} holds an unfinished run of this configuration; add --resume or choose another --out")
    return False


def _refuse_other(out: str, stored: Config, config: Config) -> None:
    """Raise RunError unless both learn the same."""
    there, here = learned(stored), learned(config)
    keys = differing(there, here)
    if not keys:
        return
    if not set(keys) <= set(LENGTH):
        way = "choose another --out or remove it"
    elif artifact.is_finished(out):
        way = "a finished run gets neither longer nor shorter: train into another --out"
    else:
        given = " ".join(f"{key}={there[key]}" for key in keys)
        way = f"go on as it began, with {given} and --resume, or train into another --out"
    raise RunError(f"{out} holds a run of another configuration ({differences(there, here)}); {way}")


def learned_at(out: str) -> bool:
    """Tell whether anything may have been learned at ``out``: it holds a finished run, or checkpoints."""
    return artifact.is_finished(out) or checkpoints.any_left(out)


def kept(out: str) -> str:
    """Say what an interrupted training left at ``out`` and how to go on."""
    epochs = checkpoints.finished_epochs(out)
    if epochs:
        return (
            f"{epochs} epoch{'s are' if epochs > 1 else ' is'} kept in {out}; go on with the same command and --resume"
        )
    if files.exists(files.join(out, artifact.CONFIG)):
        return f"no epoch of {out} was finished; begin again with the same command"
    return f"nothing was written to {out}; begin again with the same command"


def compare_data(run: artifact.StoredRun, config: Config, warn: Say) -> None:
    """Compare the data of a finished run with those that ``config`` names now.

    Others at another place are another run's: RunError. Of those of the run that changed since ``warn`` is told.
    """
    moved = data_places(run.config) != data_places(config)
    try:
        now = fingerprint_now(PanelSpec.of(config))
    except DataError:
        if moved:
            raise
        return  # they went: the run stays what it is
    before = str(run.manifest["data_fingerprint"])
    if now == before:
        return
    told = f"{run.uri} was trained on other data (fingerprint {before[:12]}, now {now[:12]})"
    if moved:
        raise RunError(f"{told}; choose another --out or remove it")
    warn(f"{told}: it stays as it is; train into another --out to use the data as they are now")
