"""What each key of a network means, for people: a line each, alike for all networks that have it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from raybench.config.networks.network import ModelConfig

MEANINGS: Mapping[str, str] = {
    "hidden_size": "units of a layer",
    "num_layers": "layers, one on the other",
    "dropout": "share of values dropped between layers while training",
    "pooling": "last or attention: the last hidden state, or a weighted mean of all",
    "variational_dropout": "share of a layer's inputs dropped, alike at all steps",
    "recurrent_dropconnect": "share of the recurrent weights dropped, anew for each batch",
    "zoneout": "share of units that keep their value, anew at each step",
    "layer_norm": "normalise inside the cell",
    "bidirectional": "read the window from both ends",
    "rnn_type": "GRU or LSTM",
    "d_model": "width of the encoder; even",
    "nhead": "heads of attention; divides d_model",
    "n_chans": "channels of each convolution",
    "kernel_size": "steps that a convolution sees",
    "cnn_dim": "channels of the convolution",
    "cnn_kernel_size": "steps that the convolution sees; odd",
    "cnn_dim_1": "channels of the first convolution",
    "cnn_dim_2": "channels of the second convolution",
    "rnn_dim": "units of each GRU",
    "rnn_dim_1": "units of the first GRUs",
    "rnn_dim_2": "units of the second GRUs",
    "rnn_dups": "GRUs beside each other, whose mean is taken",
    "rnn_layers": "layers of each GRU",
    "base_model": "GRU or LSTM: what reads each instrument's window",
    "pretrained": "run or weights that the base starts from; null: none",
    "layers": "units of each layer",
    "act": "LeakyReLU or SiLU, after each layer",
    "estimator": "ols or ridge",
    "alpha": "weight of the penalty",
    "fit_intercept": "add a constant",
    "num_boost_round": "trees at most",
    "early_stopping_rounds": "trees without improvement before it stops",
    "learning_rate": "share of each tree that counts",
    "num_leaves": "leaves of a tree at most",
    "max_depth": "depth of a tree at most",
    "min_child_samples": "samples of a leaf at least",
    "colsample_bytree": "share of the features that a tree sees",
    "subsample": "share of the samples that a tree sees, with subsample_freq",
    "subsample_freq": "trees between two draws of samples; 0: none are drawn",
    "lambda_l1": "weight of the penalty on absolute values",
    "lambda_l2": "weight of the penalty on squares",
    "column": "feature that is the score; null: the shortest past return",
    "sign": "1, or -1: what fell is to rise",
    "out_dim": "units between the steps and the score",
    "n_d": "units of a step for the score",
    "n_a": "units of a step for the next step's attention",
    "n_shared": "blocks that all steps share",
    "n_ind": "blocks of each step's own",
    "n_steps": "times that features are looked at",
    "relax": "how much a feature that was looked at counts later",
    "vbs": "samples of a virtual batch",
    "ps": "share of the inputs hidden in pretraining",
    "pretrain": "begin with a pretraining",
    "pretrain_n_epochs": "epochs of the pretraining at most",
    "model_config": "keys of the backbone",
    "tra_config": "keys of the router",
    "model_type": "RNN or Transformer: the backbone",
    "rnn_arch": "GRU or LSTM",
    "use_attn": "weigh the steps of the window",
    "num_heads": "heads of attention, of a Transformer",
    "num_states": "predictors to choose among",
    "tau": "temperature of the choice",
    "src_info": "what the choice sees: LR (the backbone), TPE (past losses), LR_TPE",
    "horizon": "dates until the loss of a sample is known",
    "lamb": "weight of the transport's regularisation",
    "rho": "decay of that weight with the steps of training",
    "freeze_model": "train the router alone, not the backbone",
    "model_init_state": "weights that the backbone starts from",
}


def keys_of(network: type[ModelConfig]) -> Iterator[tuple[str, Any, str]]:
    """Yield each key of a network with its default and its meaning; parts are flattened with dots."""
    yield from _keys(network(type=network.model_fields["type"].default).model_dump(by_alias=True, exclude={"type"}))


def _keys(values: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, Any, str]]:
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _keys(value, f"{before}{name}.")
        else:
            yield f"{before}{name}", value, MEANINGS.get(name, "")
