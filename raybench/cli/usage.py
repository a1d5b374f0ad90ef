"""What ``--help`` shows: commands in groups, an example each; and what helps whoever mistyped an option."""

from __future__ import annotations

import difflib
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

GROUPS: Mapping[str, str] = {
    "demo": "First steps",
    "doctor": "First steps",
    "models": "First steps",
    "import": "Data",
    "features": "Data",
    "info": "Data",
    "init": "Configuration",
    "check": "Configuration",
    "schema": "Configuration",
    "train": "Train and score",
    "tune": "Search and compare",
    "bench": "Search and compare",
    "score": "Train and score",
    "status": "Train and score",
    "daily": "Train and score",
    "evaluate": "Train and score",
    "runs": "Train and score",
    "compare": "Search and compare",
    "explain": "Look inside, take elsewhere",
    "adopt": "Look inside, take elsewhere",
    "export": "Look inside, take elsewhere",
}

EXAMPLES: Mapping[str, str] = {
    "demo": "raybench demo --out demo-out",
    "doctor": "raybench doctor --path s3://bucket/runs",
    "models": "raybench models gru",
    "check": "raybench check gru.yaml train.lr=1e-3",
    "import": "raybench import prices.csv --to bars --universe csi300=csi300.csv",
    "features": "raybench features --bars bars --set alpha158 --to features",
    "info": "raybench info bars",
    "init": "raybench init --bars bars --model gru",
    "schema": "raybench schema > raybench.schema.json",
    "train": "raybench train gru.yaml train.lr=1e-3 --out runs/gru",
    "tune": "raybench tune gru.yaml tune.num_samples=16 --out searches/gru",
    "bench": "raybench bench gru.yaml lstm.yaml --seeds 5 --out benches/first",
    "score": "raybench score --model runs/gru --bars bars --to scores",
    "status": "raybench status scores --bars bars",
    "daily": "raybench daily daily.yaml",
    "evaluate": "raybench evaluate --scores scores --bars bars --out evaluation",
    "runs": "raybench runs runs",
    "compare": "raybench compare runs/gru runs/lstm --out comparison",
    "explain": "raybench explain --model run --bars bars --date 2020-08-03 --out why",
    "adopt": "raybench adopt --weights gru.pkl --config gru.yaml --out runs/gru",
    "export": "raybench export --model runs/gru --format onnx --to gru.onnx",
}


MEANT: Mapping[str, str] = {
    "epochs": "train.max_epochs",
    "n_epochs": "train.max_epochs",
    "num_epochs": "train.max_epochs",
    "learning_rate": "train.lr",
    "batch": "train.batch_size",
    "patience": "train.early_stop.patience",
    "network": "model.type",
    "model": "model.type",
    "hidden": "model.hidden_size",
    "layers": "model.num_layers",
    "window": "data.step_len",
    "gpu": "cluster.use_gpu",
    "workers": "cluster.num_workers",
}
"""What is meant by names that other programs have for keys of ours."""


def _without_types_of_flags(params: list[Any]) -> list[Any]:
    for param in params:
        if getattr(param, "is_flag", False):
            param.metavar = ""  # it takes no value: a type beside it says otherwise
    return params


class Command(TyperCommand):
    """A command whose help says nothing of the types of flags, and that is not told one thing and its opposite."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Refuse a switch that is given both ways: which of them came last is nothing anybody means."""
        for param in self.get_params(ctx):
            ways = [
                next((word for word in names if word in args), None) for names in (param.opts, param.secondary_opts)
            ]
            if all(ways):
                ctx.fail(f"{ways[0]} and {ways[1]} are both given; want one of them")
        return super().parse_args(ctx, args)

    def get_params(self, ctx: Any) -> list[Any]:
        """List options and arguments, ``--help`` among them."""
        return _without_types_of_flags(super().get_params(ctx))


class CommandGroup(TyperGroup):
    """The command line as a whole, likewise."""

    def get_params(self, ctx: Any) -> list[Any]:
        """List the options."""
        return _without_types_of_flags(super().get_params(ctx))


def describe(app: typer.Typer) -> None:
    """Give each command its group and its example."""
    for command in app.registered_commands:
        command.cls = Command
        command.rich_help_panel = GROUPS.get(command.name or "", "Other")
        if command.name in EXAMPLES:
            command.epilog = f"Example: {EXAMPLES[command.name or '']}"


def advice(error: Exception, message: str, given: Sequence[str]) -> str:
    """Add to a message what to type instead: a key of the configuration that came as an option, or where help is."""
    option = getattr(error, "option_name", None)
    if given[0] in ("check", "train", "bench") and isinstance(option, str):
        keys = keys_like(option.lstrip("-"))
        if keys:
            what = f"a key of the configuration is given without dashes: {_assigned(keys, option, given)}"
            return f"{message.partition(' (Possible')[0]}; {what}"
    return f"{message} (see raybench {f'{given[0]} ' if given[0] in EXAMPLES else ''}--help)"


def keys_like(name: str) -> list[str]:
    """Find the keys of a configuration that end in a name, or are nearly it: ``lr`` is ``train.lr``."""
    name = name.replace("-", "_")
    keys = config_keys()
    found = [key for key in keys if key == name or key.rpartition(".")[2] == name]
    if name in MEANT:
        found = [MEANT[name], *found]
    if found:
        return found
    leaves = {key.rpartition(".")[2]: key for key in keys}
    near = difflib.get_close_matches(name, leaves, n=1, cutoff=0.8) if len(name) > 3 else []
    return [leaves[leaf] for leaf in near]


def config_keys() -> list[str]:
    """Every key that can be overridden, those of all networks among them."""
    from raybench.config import Config
    from raybench.config.networks import NETWORKS

    keys = []
    for part in ("train", "data", "cluster"):
        annotation = Config.model_fields[part].annotation
        assert annotation is not None
        keys += [f"{part}.{field.alias or name}" for name, field in annotation.model_fields.items()]
    for network in NETWORKS.values():
        keys += [f"model.{field.alias or name}" for name, field in network.model_fields.items()]
    return [*dict.fromkeys(keys), "recipe"]


def _assigned(keys: Sequence[str], option: str, given: Sequence[str]) -> str:
    """Write the keys with the value that was given for the option."""
    value = "VALUE"
    for word, following in zip(given, [*given[1:], ""], strict=True):
        if word.startswith(f"{option}="):
            value = word.partition("=")[2]
        elif word == option and following and not following.startswith("--"):
            value = following
    return " or ".join(shlex.quote(f"{key}={value}") for key in keys)
