"""Which fits a bench is made of: every configuration with every seed, and on every roll where segments roll.

A fit's run lies in ``runs/<name>/seed-N``, or ``runs/<name>/<roll>/seed-N``, below the folder of the bench.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from raybench.comparison.results import hash_without_seed
from raybench.comparison.rolls import parse_step, rolls_of
from raybench.config import Config
from raybench.config.identity import data_places
from raybench.config.seeds import SEEDLESS, Seeds, parse_seeds
from raybench.errors import ConfigError
from raybench.storage import files

RUNS = "runs"
_UNFIT = re.compile(r"[^\w.+-]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """A training that a bench does: ``config`` with its seed and its segments, called ``name`` on a ``roll``.

    roll : first date of the test segment, None where segments do not roll
    """

    name: str
    config: Config
    roll: str | None = None

    @property
    def seed(self) -> int:
        """Its seed."""
        return self.config.train.seed

    @property
    def folder(self) -> str:
        """Its run directory, relative to the folder of the bench."""
        return "/".join([RUNS, self.name, *([] if self.roll is None else [self.roll]), f"seed-{self.seed}"])

    @property
    def title(self) -> str:
        """What people read."""
        return f"{self.name}{'' if self.roll is None else f' from {self.roll}'}, seed {self.seed}"


def names_of(places: Iterable[str]) -> list[str]:
    """Name configurations by the stems of their files, made unique: ``gru``, ``gru-2``."""
    given = [files.name_of(place).rpartition(".")[0] or files.name_of(place) for place in places]
    names: list[str] = []
    for stem in (_UNFIT.sub("-", stem).strip("-.") or "config" for stem in given):
        count, name = 1, stem
        while name in names:
            count += 1
            name = f"{stem}-{count}"
        names.append(name)
    return names


def plan_fits(
    configs: Mapping[str, Config], seeds: Seeds, *, rolling: str | None = None, expanding: bool = False
) -> list[Fit]:
    """All fits, configuration by configuration; ConfigError for what cannot be asked for.

    ``seeds``: how many, from each configuration's train.seed on, or which. A network that draws nothing at random is
    fitted with the first of them alone.
    """
    if not configs:
        raise ConfigError("no configuration is given; want one or more, such as configs/gru_alpha158.yaml")
    if expanding and rolling is None:
        raise ConfigError("--expanding is given without --rolling; say how far to step, such as --rolling 1y")
    _refuse_equal(configs)
    step = None if rolling is None else parse_step(rolling)
    fits = []
    for name, config in configs.items():
        numbers = parse_seeds(seeds, config.train.seed)
        numbers = numbers[:1] if config.model.type in SEEDLESS else numbers
        segments = config.data.segments
        rolls = [None] if step is None else rolls_of(segments, step, expanding=expanding)
        for roll in rolls:
            moved = config if roll is None else roll.of(config)
            fits += [
                Fit(name=name, config=_seeded(moved, number), roll=None if roll is None else roll.name)
                for number in numbers
            ]
    return fits


def seedless(fits: Sequence[Fit]) -> list[str]:
    """Names of the configurations whose fits do not depend on a seed."""
    return list(dict.fromkeys(fit.name for fit in fits if fit.config.model.type in SEEDLESS))


def _seeded(config: Config, seed: int) -> Config:
    return config.model_copy(update={"train": config.train.model_copy(update={"seed": seed})})


def _refuse_equal(configs: Mapping[str, Config]) -> None:
    """Refuse two configurations that would learn the same but for the seed, which ``--seeds`` is there for."""
    known: dict[tuple[str, str], str] = {}
    for name, config in configs.items():
        key = (hash_without_seed(config), str(sorted(data_places(config).items())))
        if key in known:
            raise ConfigError(
                f"the configurations {known[key]} and {name} are equal but for train.seed; leave one of them out "
                "(--seeds says how many seeds)"
            )
        known[key] = name
