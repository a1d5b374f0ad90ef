"""The results of a bench as they grow: rows and days of each fit, published whenever one ends.

    DIR/results.parquet        one row for each fit that ended, in the order of fits
    DIR/daily/<name>.parquet   their test dates

Days are published before the row that they belong to, so a row without an error has its days.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from raybench.comparison.fits import Fit
from raybench.comparison.results import TABLE, read_daily, read_results, results_frame, write_daily, write_results
from raybench.errors import RunError
from raybench.storage import files, parquet


class Results:
    """What is known of the fits of a bench, by their folders."""

    def __init__(self, out: str, fits: Sequence[Fit]) -> None:
        self._out = out
        self._fits = {fit.folder: fit for fit in fits}
        self._rows: dict[str, Mapping[str, Any]] = {}
        self._daily: dict[str, pd.DataFrame] = {}

    @classmethod
    def opened(cls, out: str, fits: Sequence[Fit], *, anew: bool = False) -> Results:
        """Those that lie in ``out``, of these ``fits`` alone; RunError if they are damaged.

        ``anew``: none then, for the runs of fits that ended are there to be judged again.
        """
        found = cls(out, fits)
        if not files.exists(files.join(out, TABLE)):
            return found
        try:
            days, table = read_daily(out), read_results(out)
        except parquet.DamagedError as error:
            if anew:
                return found
            text = str(error).removesuffix(parquet.AGAIN)
            raise RunError(f"{text}; the same command with --resume judges its runs again") from None
        keys = days["name"], days["seed"], days["roll"].fillna("")
        parts = {key: part.reset_index(drop=True) for key, part in days.groupby(list(keys), sort=False)}
        for row in table.to_dict(orient="records"):
            fit = found._fits.get(str(row["run"]))
            part = None if fit is None else parts.get((fit.name, fit.seed, fit.roll or ""))
            if fit is not None and (row["error"] is not None or part is not None):
                found._rows[fit.folder] = {str(key): value for key, value in row.items()}
                if row["error"] is None and part is not None:
                    found._daily[fit.folder] = part
        return found

    @classmethod
    def are_whole(cls, out: str) -> bool:
        """Whether what lies in ``out`` can be read."""
        try:
            cls.opened(out, ())
        except RunError:
            return False
        return True

    def row(self, fit: Fit) -> Mapping[str, Any] | None:
        """The row of a fit that ended."""
        return self._rows.get(fit.folder)

    def went_well(self, fit: Fit) -> bool:
        """Whether a fit ended without an error."""
        row = self.row(fit)
        return row is not None and row["error"] is None

    def put(self, fit: Fit, row: Mapping[str, Any], daily: pd.DataFrame | None) -> None:
        """Publish what a fit came to."""
        self._rows[fit.folder] = row
        if daily is not None:
            self._daily[fit.folder] = daily
            same = [each.folder for each in self._fits.values() if each.name == fit.name]
            write_daily(self._out, fit.name, [self._daily[folder] for folder in same if folder in self._daily])
        write_results(self._out, self._in_order())

    def frame(self) -> pd.DataFrame:
        """The table of results."""
        return results_frame(self._in_order())

    def daily(self) -> pd.DataFrame:
        """What all test dates brought."""
        return read_daily(self._out)

    def _in_order(self) -> list[Mapping[str, Any]]:
        return [self._rows[folder] for folder in self._fits if folder in self._rows]
