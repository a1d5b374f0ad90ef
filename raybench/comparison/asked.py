"""``bench.json``: what a bench was asked for, published first, and how it ended, published last."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import raybench
from raybench.comparison.fits import Fit
from raybench.config.identity import differences, differing, learned
from raybench.errors import RunError
from raybench.reports.plain import plain
from raybench.storage import files
from raybench.storage.places import BENCH

SCHEMA_VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What a bench was asked for.

    fits : the folder of each, in order
    configs : of each folder, what decides what is learned
    rolling : how far segments step, and whether they expand
    """

    fits: tuple[str, ...]
    configs: Mapping[str, Mapping[str, Any]]
    rolling: str | None = None
    expanding: bool = False

    @classmethod
    def of(cls, fits: Sequence[Fit], rolling: str | None, *, expanding: bool) -> Asked:
        """What these fits stand for."""
        return cls(
            fits=tuple(fit.folder for fit in fits),
            configs={fit.folder: plain(learned(fit.config)) for fit in fits},
            rolling=rolling,
            expanding=expanding,
        )

    def refuse_other(self, out: str, there: Asked) -> None:
        """Raise RunError unless the bench ``there`` in ``out`` is this one."""
        way = "choose another --out or remove it"
        if (there.rolling, there.expanding) != (self.rolling, self.expanding):
            raise RunError(f"{out} holds a bench with {there._steps()}, and asked is one with {self._steps()}; {way}")
        if set(there.fits) != set(self.fits):
            less, more = sorted(set(there.fits) - set(self.fits)), sorted(set(self.fits) - set(there.fits))
            told = [f"{len(names)} fits such as {names[0]} {where}" for names, where in _sides(less, more) if names]
            raise RunError(f"{out} holds a bench of other configurations or seeds ({', '.join(told)}); {way}")
        for folder in self.fits:
            theirs, ours = there.configs[folder], self.configs[folder]
            if differing(theirs, ours):
                raise RunError(
                    f"{out} holds a bench of another configuration ({folder}: {differences(theirs, ours)}); {way}"
                )

    def _steps(self) -> str:
        if self.rolling is None:
            return "no --rolling"
        return f"--rolling {self.rolling}{' --expanding' if self.expanding else ''}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How a bench ended: ``warnings`` are lines that were said."""

    seconds: float
    finished: str
    failed: int = 0
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """What the file says; ``ended`` is None while the bench is not finished."""

    asked: Asked
    ended: Ended | None = field(default=None)

    @classmethod
    def read(cls, out: str) -> Bench | None:
        """What lies in ``out``, None if there is none; RunError if it is damaged."""
        place = files.join(out, BENCH)
        if not files.exists(place):
            return None
        try:
            said = json.loads(files.read_bytes(place))
            if said["schema_version"] != SCHEMA_VERSION:
                raise ValueError(f"schema version {said['schema_version']}")
            asked = Asked(**{**said["asked"], "fits": tuple(said["asked"]["fits"])})
            ended = said["ended"]
            if ended is not None:
                ended = Ended(**{**ended, "warnings": tuple(ended["warnings"])})
        except (ValueError, KeyError, TypeError) as error:
            raise RunError(f"{place}: is damaged ({error}); choose another --out") from error
        return cls(asked=asked, ended=ended)

    def write(self, out: str) -> None:
        """Publish it in ``out``."""
        ended = self.ended
        said = {
            "schema_version": SCHEMA_VERSION,
            "raybench": raybench.__version__,
            "asked": {
                "fits": list(self.asked.fits),
                "rolling": self.asked.rolling,
                "expanding": self.asked.expanding,
                "configs": self.asked.configs,
            },
            "ended": None
            if ended is None
            else {
                "seconds": ended.seconds,
                "finished": ended.finished,
                "failed": ended.failed,
                "warnings": list(ended.warnings),
            },
        }
        files.publish_bytes(files.join(out, BENCH), (json.dumps(plain(said), indent=1) + "\n").encode())


def _sides(less: list[str], more: list[str]) -> list[tuple[list[str], str]]:
    return [(less, "are there and not asked for"), (more, "are asked for and not there")]
