"""One count of parameters, whoever says it: configs, README, models, check, and the network itself."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from raybench import models
from raybench.config import load_config
from raybench.config.data.alpha_names import ALPHA158_NAMES, ALPHA360_NAMES
from raybench.config.networks import NETWORKS
from raybench.config.networks.meanings import keys_of
from raybench.config.size import benchmark, benchmark_parameters, parameters

ROOT = Path(__file__).parents[2]
BOTH = ("alpha158", "alpha360")


@pytest.mark.parametrize("feature_set", BOTH)
@pytest.mark.parametrize("network", NETWORKS)
def test_benchmarks_are_the_shipped_configurations(network: str, feature_set: str) -> None:
    config = load_config(ROOT / "configs" / f"{network}_{feature_set}.yaml")
    at = benchmark(network, feature_set)
    assert (config.data.num_features, config.data.step_len) == (at.num_features, at.step_len)
    assert config.model.kwargs == NETWORKS[network](type=network, **at.keys).kwargs
    assert parameters(config) == benchmark_parameters(network, feature_set)


@pytest.mark.parametrize("feature_set", BOTH)
@pytest.mark.parametrize("network", [name for name in NETWORKS if name not in ("lightgbm", "linear", "persistence")])
def test_the_network_has_as_many(network: str, feature_set: str) -> None:
    config = load_config(ROOT / "configs" / f"{network}_{feature_set}.yaml")
    columns = ALPHA158_NAMES[: config.data.num_features] if feature_set == "alpha158" else None
    features = {"type": feature_set, "columns": columns}
    module = models.build(config.model.model_dump(), feature_set=features, step_len=config.data.step_len)
    assert sum(value.numel() for value in module.parameters()) == parameters(config)
    assert parameters(config, len(columns or ALPHA360_NAMES)) == parameters(config)  # as a panel has them


def readme() -> list[tuple[str, str, int]]:
    """The counts of README's table: network, feature set, parameters."""
    found = []
    for line in (ROOT / "README.md").read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip("| ").split("|")]
        names = re.findall(r"`(\w+)`", cells[0])
        if len(cells) == 4 and names and set(names) <= set(NETWORKS):
            for feature_set, cell in zip(BOTH, cells[2:], strict=True):
                counts = re.sub(r" \(.*?\)", "", cell).replace(", ", " ").replace(",", "").split()
                numbers = [int(count) for count in counts if count != "-"]
                found += [(name, feature_set, number) for name, number in zip(names, numbers, strict=False)]
    return found


def test_readme_says_the_same() -> None:
    said = readme()
    assert {name for name, _, _ in said} >= set(NETWORKS) - {"lightgbm", "persistence"}
    assert [(name, kind, benchmark_parameters(name, kind)) for name, kind, _ in said] == said


@pytest.mark.parametrize("network", NETWORKS)
def test_every_key_has_a_meaning(network: str) -> None:
    assert [key for key, _, what in keys_of(NETWORKS[network]) if not what] == []
