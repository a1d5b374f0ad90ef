"""What ``raybench daily`` does each morning: which bars come from where, which runs score them, into which table.

    import: {source: s3://bucket/delivered, universe: {csi300: s3://bucket/csi300.csv}}
    bars: s3://bucket/bars
    score: {model: s3://bucket/runs/gru, to: s3://bucket/scores}

Keys are called what the options of the commands are called.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from raybench.config.common.strict import ConfigPart, Date, Name
from raybench.config.load import parse_part


def _listed(value: Any) -> Any:
    """One name as a list of one."""
    if isinstance(value, str):
        return (value,)
    return tuple(value) if isinstance(value, list) else value


class DailyImport(ConfigPart):
    """What ``raybench import --append`` is given.

    source: files or a folder with the newest bars, those that are there already among them or not. The other keys are
    its options.
    """

    source: Name
    format: Literal["qlib", "csv", "parquet"] | None = None
    columns: dict[str, str] = Field(default_factory=dict)
    encoding: str | None = None
    universe: dict[str, str] = Field(default_factory=dict)
    adjust: str | None = None
    calendar: str | None = None
    min_date_coverage: Annotated[float, Field(ge=0.0, le=1.0)] | None = None


class DailyScore(ConfigPart):
    """What ``raybench score --since-last`` is given.

    model: a run, a folder of seeds or a bench; several are combined. to: the score table. redo_stale: whether dates
    whose rows were restated are scored again, too, or only told of. The other keys are its options.
    """

    model: Annotated[tuple[Name, ...], BeforeValidator(_listed), Field(min_length=1)]
    to: Name
    start: Date | None = None
    min_coverage: Annotated[float, Field(ge=0.0, le=1.0)] = 0.5
    combine: Literal["scores", "ranks"] = "scores"
    concepts: Name | None = None
    second: Name | None = None
    redo_stale: bool = False
    local: bool | None = None
    trust: bool = False


class DailyConfig(ConfigPart):
    """A morning.

    import: left out where something else keeps the bars up to date. market: an exchange (XSHG, XNYS, 24/7): its
    sessions are looked for in the bars, and the newest that has closed should have scores.
    """

    version: Literal[1] = 1
    import_: DailyImport | None = Field(None, alias="import")
    bars: Name
    market: Name | None = None
    score: DailyScore


def parse_daily(text: str, *, name: str, overrides: Sequence[str] = ()) -> DailyConfig:
    """Read YAML text with overrides ``key.path=value``; ``name`` is how errors call it. ConfigError says what is wrong.

    Relative paths in it are relative to the working directory.
    """
    return parse_part(DailyConfig, text, name=name, overrides=overrides)
