"""Where scores come from: the runs that made them, what these learned, and from which dates.

The ``run_id`` in a score table decides; a run that made none of the scores is refused. A run says by which
label it is to be judged, and its train and valid segments which dates are no test.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from raybench.config import Config
from raybench.config.data.label import DEFAULT_LABEL, parse_label
from raybench.config.data.spec import LABEL_COLUMN
from raybench.errors import ConfigError, DataError
from raybench.feature_sets import table as feature_table
from raybench.runs.artifact import StoredRun, load_run
from raybench.runs.folders import run_folders
from raybench.scoring.ensemble import WAYS, ensemble_id
from raybench.storage import files

MOST_ORDERED = 8  # runs whose every order is tried as that of an ensemble: 40320


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoresOrigin:
    """The runs that made some scores.

    runs: as they were given. learned_until: by the id that scores carry, the last date that was learned from.
    warnings: what could not be made sure of.
    """

    runs: tuple[StoredRun, ...]
    learned_until: Mapping[str, np.datetime64]
    warnings: tuple[str, ...] = ()

    def in_sample(self, scores: pd.DataFrame) -> pd.Series[bool]:
        """Say of each datetime of ``scores`` whether it lies before what the run of its scores had not seen.

        That is every date up to the end of the valid segment, which chose the epoch.
        """
        if "run_id" in scores:
            last_R = scores["run_id"].map(dict(self.learned_until))
        else:
            last_R = pd.Series(max(self.learned_until.values()), index=scores.index)
        seen_R = scores["datetime"].dt.normalize() <= pd.to_datetime(last_R)
        seen: pd.Series[bool] = seen_R.groupby(scores["datetime"]).any()
        return seen


def origin_of(models: Sequence[str], scores: pd.DataFrame, where: str) -> ScoresOrigin:
    """Open the runs that ``scores`` are said to come from; DataError if they carry other ids.

    Several runs are those of an ensemble, in any order, or each scored some of the dates, as may several folders of
    runs, each an ensemble.
    """
    # a run's own code is named in it, but nothing here calls it
    groups = [tuple(load_run(folder, trust=True) for folder in run_folders(uri)) for uri in models]
    runs = tuple(run for group in groups for run in group)
    last = {run.run_id: np.datetime64(run.config.data.segments.valid[1]) for run in runs}
    if "run_id" not in scores:
        note = f"{where} has no run_id: nothing shows that these scores are those of {' and '.join(models)}"
        return ScoresOrigin(runs=runs, learned_until=last, warnings=(note,))
    found = sorted(map(str, scores["run_id"].unique()))
    if set(found) == set(last):
        return ScoresOrigin(runs=runs, learned_until=last)
    if len(found) == 1 and found[0] in _ensemble_ids(runs):
        return ScoresOrigin(runs=runs, learned_until={found[0]: max(last.values())})
    each = [{id_: _last(group) for id_ in _ensemble_ids(group) if id_ in found} for group in groups]
    if all(each) and {id_ for known in each for id_ in known} == set(found):
        return ScoresOrigin(runs=runs, learned_until={id_: last for known in each for id_, last in known.items()})
    named = " and ".join(f"{run.uri} (run {run.run_id})" for run in runs)
    raise DataError(
        f"{where}: these are scores of run {_some(found)}, not of {named}; give the run that made them (--model), "
        "or leave --model out"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Yardstick:
    """By which label scores are judged: an expression on bars, or a column of a feature table.

    Attributes
    ----------
    expression : what is computed from bars; None where ``column`` is read
    column : the column of a feature table that is read
    holding : bars that the label is held for
    warnings : what is taken in place of something else
    """

    expression: str | None = None
    column: str | None = None
    holding: int = 1
    warnings: tuple[str, ...] = ()


def yardstick(origin: ScoresOrigin | None, config: Config | None, features: str | None) -> Yardstick:
    """The label of ``config``, else that of the runs, else Qlib's; ``features``: the table that has it as a column."""
    said, who = _configured(origin, config)
    if features is not None:
        return _of_column(said, who)
    if said is None:
        return Yardstick(expression=DEFAULT_LABEL, holding=parse_label(DEFAULT_LABEL).holding)
    label = said.data.label
    if "$" in label:
        return Yardstick(expression=label, holding=parse_label(label).holding)
    own = _own_expression(said)
    if own is not None:
        return Yardstick(expression=own, holding=parse_label(own).holding)
    if config is not None:
        raise ConfigError(
            f"data.label is {label!r}, a column of a feature table; evaluating against bars needs an expression such "
            f"as {DEFAULT_LABEL!r}: change data.label, give --features TABLE, or leave out --config for that one"
        )
    note = (
        f"{who} learned the column {label} of a feature table, which bars do not have: the scores are compared with "
        f"Qlib's label {DEFAULT_LABEL}; --features TABLE takes the column, --config another expression"
    )
    return Yardstick(expression=DEFAULT_LABEL, holding=parse_label(DEFAULT_LABEL).holding, warnings=(note,))


def _configured(origin: ScoresOrigin | None, config: Config | None) -> tuple[Config | None, str]:
    """Who says by what to judge."""
    if config is not None:
        return config, "--config"
    if origin is None:
        return None, ""
    first = origin.runs[0]
    other = next((run for run in origin.runs if run.config.data.label != first.config.data.label), None)
    if other is not None:
        raise DataError(
            f"{first.uri} learned the label {first.config.data.label!r}, {other.uri} {other.config.data.label!r}; "
            "say with --config which one to judge by"
        )
    return first.config, first.uri


def _own_expression(config: Config) -> str | None:
    """The expression behind LABEL0 of a table that raybench wrote, if that table can be asked."""
    if config.data.features is None or config.data.label != LABEL_COLUMN:
        return None
    manifest = feature_table.read_manifest(files.open_location(config.data.features).uri)
    found = manifest.get("label", {}).get("expression") if manifest is not None else None
    return found if isinstance(found, str) else None


def _of_column(config: Config | None, who: str) -> Yardstick:
    """A label that somebody computed: it is held from the bar after the score's on, as Qlib's label is."""
    qlib = parse_label(DEFAULT_LABEL)
    if config is None:
        return Yardstick(column=LABEL_COLUMN, holding=qlib.holding)
    column = config.data.label_column or LABEL_COLUMN
    notes = []
    if "$" in config.data.label and parse_label(config.data.label).root != qlib.root:
        notes.append(f"{who} has the label {config.data.label}; the column {column} of --features is taken for it")
    if config.data.horizon is None:
        notes.append(
            f"how many bars the label {column} looks ahead is not known: annual figures and standard errors take "
            "it as a return over one; data.horizon of --config says it"
        )
    holding = max(1, (config.data.horizon or 1) - 1)
    return Yardstick(column=column, holding=holding, warnings=tuple(notes))


def _ensemble_ids(runs: Sequence[StoredRun]) -> set[str]:
    """The ids that these runs may have together, whatever order they were given in."""
    ids = [run.run_id for run in runs]
    orders = itertools.permutations(ids) if len(ids) <= MOST_ORDERED else (ids, sorted(ids), sorted(ids, reverse=True))
    return {ensemble_id(order, way) for order in map(list, orders) for way in WAYS}


def _last(runs: Sequence[StoredRun]) -> np.datetime64:
    """The last date that any of these runs learned from."""
    return max(np.datetime64(run.config.data.segments.valid[1]) for run in runs)


def _some(ids: Sequence[str]) -> str:
    return ", ".join(ids[:3]) + (f" and {len(ids) - 3} more" if len(ids) > 3 else "")
