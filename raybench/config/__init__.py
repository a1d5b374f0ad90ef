"""Configurations: what they may say, how they are read and written. Loads neither torch nor ray nor numpy."""

from raybench.config.data import DataConfig, FeatureSet, Segments
from raybench.config.label import LabelExpression, parse_label
from raybench.config.load import dump_config, find_problems, load_config, parse_config, with_absolute_paths
from raybench.config.networks import NETWORKS, ModelConfig
from raybench.config.processors import ProcessorsConfig, ProcessorSpec
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
    "dump_config",
    "find_problems",
    "load_config",
    "parse_config",
    "parse_label",
    "with_absolute_paths",
]
