"""The CONFIG argument of commands, local or s3://, and its overrides."""

from __future__ import annotations

from typing import Annotated

import typer

from raybench.config import Config, load_config, parse_config
from raybench.config.load import read_text
from raybench.errors import ConfigError

ConfigArgument = Annotated[str, typer.Argument(metavar="CONFIG", help="Configuration file (YAML), local or s3://.")]
OverridesArgument = Annotated[
    list[str] | None,
    typer.Argument(metavar="KEY=VALUE", help="Override a key, such as train.lr=1e-3.", show_default=False),
]


def config_text(uri: str) -> str:
    """Read the text of a configuration."""
    if not uri.startswith("s3://"):
        return read_text(uri)
    from raybench.storage.files import read_bytes  # pyarrow is slow to load, and seldom needed here

    try:
        return read_bytes(uri).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigError(f"{uri}: not UTF-8 (byte {error.start}); want a YAML configuration") from None


def config_from(uri: str, overrides: list[str] | None) -> Config:
    """Read, override and validate a configuration."""
    if not uri.startswith("s3://"):
        return load_config(uri, overrides or ())
    return parse_config(config_text(uri), name=uri, overrides=overrides or ())
