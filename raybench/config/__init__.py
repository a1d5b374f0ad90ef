"""Configurations: what they may say, how they are read and written. Loads neither torch nor ray nor numpy."""

from raybench.config.data.label import LabelExpression, parse_label
from raybench.config.data.processors import ProcessorsConfig, ProcessorSpec
from raybench.config.data.spec import DataConfig, FeatureSet, Segments
from raybench.config.load import dump_config, find_problems, load_config, parse_config, with_absolute_paths
from raybench.config.networks import NETWORKS, ModelConfig
from raybench.config.schema import ClusterConfig, Config, EarlyStop, EvaluateConfig, TrainConfig
from raybench.config.tune import TuneConfig

__all__ = [
    "NETWORKS",
    "ClusterConfig",
    "Config",
    "DataConfig",
    "EarlyStop",
    "EvaluateConfig",
    "FeatureSet",
    "LabelExpression",
    "ModelConfig",
    "ProcessorSpec",
    "ProcessorsConfig",
    "Segments",
    "TrainConfig",
    "TuneConfig",
    "daily",
    "dump_config",
    "find_problems",
    "fused",
    "identity",
    "json_schema",
    "load",
    "load_config",
    "panel_spec",
    "parse_config",
    "parse_label",
    "recipe",
    "schema",
    "search_space",
    "seeds",
    "shipped",
    "size",
    "tune",
    "with_absolute_paths",
    "yaml_lines",
]
