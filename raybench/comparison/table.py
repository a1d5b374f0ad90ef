"""The table of configurations: each one's figures over its seeds, beside what Qlib publishes.

From the frame of results (:mod:`raybench.comparison.results`) one row for each configuration, the best mean Rank IC
first. Mean and sample standard deviation (ddof 1) are over the fits that ended well and have the figure; fits that
failed are counted beside it. NaN: not known, such as the deviation of one fit.

A difference from a published figure is given in joint standard errors, sqrt(s1^2 / n1 + s2^2 / n2), where the
configuration is Qlib's. It is marked where it exceeds two: ``*``, or ``(*)`` where that hangs on the published
deviation, which is rounded to two digits, being no larger than it is printed.
"""

from __future__ import annotations

import html
import io
import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from raybench.comparison.published import (
    METRICS,
    ROUNDED,
    SELECTED,
    SOURCE,
    Figure,
    differing_settings,
    features_of,
    joint_error,
    known_wrong,
    published,
)
from raybench.config import Config
from raybench.config.seeds import SEEDLESS
from raybench.reports.html import Table, number
from raybench.reports.text import numbered, printable

FAR = 2.0
"""Joint standard errors from which on a difference is marked."""

_PER_FIT = ("valid_rank_ic", "best_epoch", "epochs", "seconds", "samples_per_second", "peak_memory_mib", "parameters")
_ADDED_UP = ("epochs", "seconds")  # over the rolls of a seed
_OF_FITS = ("valid Rank IC", "best epoch", "seconds", "parameters")
SHOWN = ("Rank IC", "Rank ICIR", "IC", "ICIR")
"""In the order of columns."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TableRow:
    """A configuration.

    ours : by metric, over the fits that have it. fits, failed : how many ended well, and how many did not
    theirs : the published figures, None where there are none
    comparable : whether the configuration is the one that the published figures are of
    means : of what is known of each fit beside its metrics, over those that ended well
    of_fits, of_published : what is to be known of the fits, and of the published figures
    """

    name: str
    model: str
    features: str
    ours: Mapping[str, Figure]
    fits: int
    failed: int
    theirs: Mapping[str, Figure] | None
    comparable: bool
    means: Mapping[str, float]
    of_fits: str = ""
    of_published: str = ""

    @property
    def note(self) -> str:
        """What is to be known of the row."""
        return "; ".join(filter(None, (self.of_fits, self.of_published)))

    def distance(self, metric: str) -> float:
        """Ours less theirs in joint standard errors; NaN where the two cannot be compared."""
        if self.theirs is None or not self.comparable:
            return math.nan
        return _distance(self.ours[metric], self.theirs[metric])

    def mark(self, metric: str) -> str:
        """Whether the distance exceeds two: ``*`` it does, ``(*)`` it may, nothing otherwise."""
        if self.theirs is None or not abs(self.distance(metric)) > FAR:
            return ""
        theirs = self.theirs[metric]
        at_most = replace(theirs, std=theirs.std + ROUNDED)
        return "*" if abs(_distance(self.ours[metric], at_most)) > FAR else "(*)"


def _distance(ours: Figure, theirs: Figure) -> float:
    error = joint_error(ours, theirs)
    return (ours.mean - theirs.mean) / error if error > 0 else math.nan


def table_rows(
    results: pd.DataFrame,
    daily: pd.DataFrame | None = None,
    configs: Mapping[str, Config] | None = None,
    partial: Collection[str] = (),
) -> list[TableRow]:
    """Bring results to rows, the best mean Rank IC first, what has none last.

    ``daily`` is needed where there are rolls: the figures of a seed are those of its rolls one after another.
    ``configs`` by name say what may be compared with the published figures; what has none is compared with nothing,
    nor is what ``partial`` names, whose figures are of some of its test dates only.
    """
    fits = per_seed(results, daily)
    otherwise = dict.fromkeys(partial, "some of the test dates")
    otherwise |= dict.fromkeys(results["name"][results["roll"].notna()], "segments that roll")
    rows = [
        _row(str(name), group, (configs or {}).get(str(name)), otherwise.get(str(name)))
        for name, group in fits.groupby("name", sort=False)
    ]
    return sorted(rows, key=_order)


def _order(row: TableRow) -> tuple[bool, float, str]:
    mean = row.ours["Rank IC"].mean
    return (not math.isfinite(mean), -mean if math.isfinite(mean) else 0.0, row.name)


def per_seed(results: pd.DataFrame, daily: pd.DataFrame | None = None) -> pd.DataFrame:
    """One row for each name and seed, its rolls taken together: metrics by date, seconds added up.

    A seed of which a roll failed has failed. A row without a roll among those of its name stands for itself.
    """
    parts = []
    for (name, seed), group in results.groupby(["name", "seed"], sort=False, dropna=False):
        whole = group[group["roll"].isna()]
        parts.append(whole if len(whole) else _together(group, _of(daily, name, seed)))
    return pd.concat(parts, ignore_index=True) if parts else results


def _of(daily: pd.DataFrame | None, name: Any, seed: Any) -> pd.DataFrame:
    if daily is None:
        return pd.DataFrame({"ic": [], "rank_ic": []})
    there: pd.DataFrame = daily[(daily["name"] == name) & (daily["seed"] == seed)]
    return there


def _together(rolls: pd.DataFrame, daily: pd.DataFrame) -> pd.DataFrame:
    whole = rolls.iloc[[0]].copy()
    whole["roll"] = None
    for key in _PER_FIT:
        known = pd.to_numeric(rolls[key], errors="coerce").astype(np.float64)
        whole[key] = known.sum(min_count=1) if key in _ADDED_UP else known.mean()
    for column, name in (("ic", "IC"), ("rank_ic", "Rank IC")):
        value = daily[column].dropna()
        spread = value.std(ddof=1)
        whole[name] = value.mean()
        whole[f"{name[:-2]}ICIR"] = value.mean() / spread if spread > 0 else math.nan
    errors = rolls["error"].dropna()
    whole["error"] = errors.iloc[0] if len(errors) else None
    return whole


def _row(name: str, fits: pd.DataFrame, config: Config | None, otherwise: str | None) -> TableRow:
    well = fits[fits["error"].isna()]
    theirs = None if config is None else published(config)
    others = [] if config is None else differing_settings(config)
    others += [otherwise] if otherwise else []
    return TableRow(
        name=name,
        model=str(fits["model"].iloc[0]),
        features=_features(fits, config),
        ours={metric: _figure(well[metric]) for metric in METRICS},
        fits=len(well),
        failed=len(fits) - len(well),
        theirs=theirs,
        comparable=theirs is not None and not others,
        means={key: _mean(well[key]) for key in _PER_FIT},
        of_fits="; ".join(_of_fits(fits, well)),
        of_published="" if theirs is None or config is None else "; ".join(_of_published(config, others)),
    )


def _features(fits: pd.DataFrame, config: Config | None) -> str:
    columns = None if config is None else getattr(config.data.feature_set, "columns", None)
    kind = str(fits["feature_set"].iloc[0])
    return kind if columns is None else f"{kind}, {numbered(len(columns), 'column|columns')}"


def _of_fits(fits: pd.DataFrame, well: pd.DataFrame) -> Iterable[str]:
    errors = fits["error"].dropna()
    if len(errors):
        yield f"{len(errors)} of {len(fits)} fits failed: {errors.iloc[0]}"
    unknown = int(well["Rank IC"].isna().sum())
    if unknown:
        yield f"{unknown} of {len(well)} fits have no Rank IC"
    if str(fits["model"].iloc[0]) in SEEDLESS:
        yield "draws nothing at random: every seed gives the same"


def _of_published(config: Config, others: Sequence[str]) -> Iterable[str]:
    if others:
        yield f"other data/settings than the published row: {', '.join(others)}"
    wrong = known_wrong(config)
    if wrong is not None:
        yield wrong
    if features_of(config) == SELECTED and config.model.type in ("tcn", "transformer", "localformer"):
        yield "published as Alpha158; its workflow selects the 20 columns"


def _figure(values: pd.Series[Any]) -> Figure:
    known = pd.to_numeric(values, errors="coerce").dropna().to_numpy(np.float64)
    mean = float(known.mean()) if known.size else math.nan
    return Figure(mean, float(known.std(ddof=1)) if known.size > 1 else math.nan, int(known.size))


def _mean(values: pd.Series[Any]) -> float:
    return _figure(values).mean


def table_frame(rows: Sequence[TableRow]) -> pd.DataFrame:
    """Every number of the table in a column of its own, at full precision."""
    records = []
    for row in rows:
        record: dict[str, Any] = {"name": row.name, "model": row.model, "features": row.features}
        record |= {"fits": row.fits, "failed": row.failed}
        for metric in METRICS:
            record |= {f"{metric} mean": row.ours[metric].mean, f"{metric} std": row.ours[metric].std}
        record |= {f"mean {key}": value for key, value in row.means.items()}
        for metric in METRICS:
            theirs = Figure(math.nan, math.nan, 0) if row.theirs is None else row.theirs[metric]
            record |= {f"published {metric} mean": theirs.mean, f"published {metric} std": theirs.std}
            record |= {f"{metric} distance": row.distance(metric), f"{metric} mark": row.mark(metric)}
        record |= {"published runs": next((f.seeds for f in (row.theirs or {}).values()), 0)}
        records.append(record | {"comparable": row.comparable, "note": row.note})
    return pd.DataFrame(records)


def to_csv(rows: Sequence[TableRow]) -> str:
    """The table as CSV, numbers at full precision."""
    text = io.StringIO()
    table_frame(rows).to_csv(text, index=False, lineterminator="\n")
    return text.getvalue()


def tables(rows: Sequence[TableRow]) -> list[Table]:
    """The table as the page shows it: what was found, and the same beside the published figures if there are any."""
    found = Table(
        name="Results",
        means="Mean and sample standard deviation over the seeds of a configuration, best mean Rank IC first. IC and "
        "ICIR are over the test dates; epoch and seconds are means over fits, seconds of training and validation.",
        columns=["configuration", "network", "features", "fits", *SHOWN, *_OF_FITS, "note"],
        rows=[
            [row.name, row.model, row.features, _fits(row)]
            + [written(row.ours[metric], metric) for metric in SHOWN]
            + [number(row.means["valid_rank_ic"], 4), _short(row.means["best_epoch"], 1)]
            + [_short(row.means["seconds"], 1), _short(row.means["parameters"], 0), row.of_fits]
            for row in rows
        ],
    )
    beside = [row for row in rows if row.theirs is not None]
    return [found, _published_table(beside)] if beside else [found]


def _published_table(rows: Sequence[TableRow]) -> Table:
    columns = ["configuration", "fits"]
    for metric in SHOWN:
        columns += [metric, "published", "errors apart"]
    return Table(
        name="Beside Qlib's published figures",
        means=f"{SOURCE}. Errors apart: ours less theirs in joint standard errors, sqrt(s1²/n1 + s2²/n2); * where that "
        "exceeds two, (*) where it does so only if the published deviation, rounded to two digits, is no larger than "
        "printed. n/a: one fit has no deviation, neither side varies, or the settings are others.",
        columns=[*columns, "note"],
        rows=[
            [row.name, _fits(row)] + [cell for metric in SHOWN for cell in _beside(row, metric)] + [row.of_published]
            for row in rows
        ],
    )


def _beside(row: TableRow, metric: str) -> list[str]:
    assert row.theirs is not None
    theirs = row.theirs[metric]
    distance = row.distance(metric)
    apart = f"{number(distance, 1)}{row.mark(metric)}" if math.isfinite(distance) else "n/a"
    return [written(row.ours[metric], metric), f"{number(theirs.mean, 4)} ± {theirs.std:.2f}", apart]


def _fits(row: TableRow) -> str:
    return f"{row.fits}" if not row.failed else f"{row.fits} of {row.fits + row.failed}"


def written(figure: Figure, metric: str) -> str:
    """Write a figure with its deviation, if it has one: 0.0412 ± 0.0008; ratios have three digits."""
    digits = 3 if metric.endswith("ICIR") else 4
    mean = number(figure.mean, digits)
    return f"{mean} ± {figure.std:.{digits}f}" if math.isfinite(figure.std) else mean


def _short(value: float, digits: int) -> str:
    return f"{value:,.{digits}f}" if math.isfinite(value) else "n/a"


def to_markdown(rows: Sequence[TableRow], title: str) -> str:
    """The tables as Markdown."""
    parts = [f"# {_cell(title)}\n"]
    for table in tables(rows):
        lines = [table.columns, ["---"] * len(table.columns), *table.rows]
        body = "\n".join(f"| {' | '.join(cell if cell == '---' else _cell(cell) for cell in line)} |" for line in lines)
        parts.append(f"## {table.name}\n\n{_cell(table.means)}\n\n{body}\n")
    return "\n".join(parts)


def _cell(text: str) -> str:
    """Text that is neither tag nor end of a cell."""
    shown = html.escape(printable(text), quote=False)
    for letter in ("\\", "|", "`", "[", "]", "*", "_"):
        shown = shown.replace(letter, f"\\{letter}")
    return shown
