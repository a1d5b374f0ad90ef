"""ALSTM, Transformer and Localformer: what Qlib's stored results (test_oracle.py) do not show."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from raybench.config import load_config
from raybench.config.networks import NETWORKS
from raybench.errors import ConfigError
from raybench.models import build, unflatten_alpha360
from raybench.models.layers.encoder import PositionalEncoding
from tests.models.kept import kept_for_backward

ALPHA360 = {"type": "alpha360"}
KINDS = ["alstm", "transformer", "localformer"]
SMALL: dict[str, dict[str, Any]] = {
    "alstm": {"type": "alstm", "hidden_size": 8},
    "transformer": {"type": "transformer", "d_model": 12, "nhead": 3},
    "localformer": {"type": "localformer", "d_model": 12, "nhead": 3},
}


def small(kind: str, recipe: str = "raybench", **keys: Any) -> Any:
    torch.manual_seed(0)
    return build({**SMALL[kind], **keys}, feature_set=ALPHA360, step_len=60, recipe=recipe)


@pytest.mark.parametrize(
    ("rnn_type", "recipe", "gates"),
    [("GRU", "raybench", 3), ("LSTM", "raybench", 4), ("GRU", "qlib", 3), ("LSTM", "qlib", 3)],
)
def test_alstm_has_the_cells_asked_for_but_under_recipe_qlib(rnn_type: str, recipe: str, gates: int) -> None:
    network = small("alstm", recipe, rnn_type=rnn_type)
    assert isinstance(network.rnn, nn.LSTM if gates == 4 else nn.GRU)
    assert network.rnn.weight_hh_l1.shape == (gates * 8, 8)
    quirks = NETWORKS["alstm"].model_validate({"rnn_type": rnn_type}).quirks("alpha158")
    assert [line for line in quirks if rnn_type in line] == list(quirks)
    assert bool(quirks) == (rnn_type == "LSTM")


@pytest.mark.parametrize("rnn_type", ["GRU", "LSTM"])
def test_alstm_sees_its_last_state_and_a_weighted_mean_of_all(rnn_type: str) -> None:
    """Also that a hook on the softmax is given the weights of time."""
    network, x_NWF = small("alstm", rnn_type=rnn_type).double(), torch.randn(5, 60, 6, dtype=torch.float64)
    seen: list[Tensor] = []
    network.att_softmax.register_forward_hook(lambda module, inputs, output: seen.append(output))
    score_N = network(x_NWF)

    h_NWH = network.rnn(torch.tanh(network.net.fc_in(x_NWF)))[0]
    hidden, out = network.att_net.att_fc_in, network.att_net.att_fc_out
    e_NW = torch.tanh(h_NWH @ hidden.weight.T + hidden.bias) @ out.weight[0]
    weight_NW = e_NW.exp() / e_NW.exp().sum(dim=1, keepdim=True)
    torch.testing.assert_close(seen[0], weight_NW)
    mean_NH = torch.einsum("nw,nwh->nh", weight_NW, h_NWH)
    w = network.fc_out.weight[0]
    torch.testing.assert_close(score_N, h_NWH[:, -1] @ w[:8] + mean_NH @ w[8:] + network.fc_out.bias)


def test_alstm_in_stretches_of_time_is_the_same() -> None:
    network, x_NWF = small("alstm").double(), torch.randn(5, 60, 6, dtype=torch.float64)

    def scored() -> tuple[Tensor, ...]:
        score_N = network(x_NWF)
        return (score_N, *torch.autograd.grad(score_N.square().sum(), list(network.parameters())))

    whole, kept = scored(), kept_floats(network, x_NWF)
    network.checkpoint_chunks = 8
    for found, expected in zip(scored(), whole, strict=True):
        torch.testing.assert_close(found, expected)
    assert kept_floats(network, x_NWF) < kept / 2


@pytest.mark.parametrize("position", [1, 37])
def test_positions_are_sines_and_cosines(position: int) -> None:
    width = 10
    encoded_H = PositionalEncoding(60, width)(torch.zeros(60, 2, width))[position, 1]
    for i in range(width // 2):
        angle = position / 10_000 ** (2 * i / width)
        assert encoded_H[2 * i].item() == pytest.approx(math.sin(angle), abs=1e-5)
        assert encoded_H[2 * i + 1].item() == pytest.approx(math.cos(angle), abs=1e-5)


def test_positions_are_not_stored() -> None:
    assert not [name for name in small("transformer").state_dict() if name.startswith("pos_encoder")]


@pytest.mark.parametrize(
    ("keys", "key", "says"),
    [
        ({"d_model": 9, "nhead": 3}, "model.d_model", "want an even number"),
        ({"nhead": 3}, "model.nhead", "want a divisor of d_model 64, got 3"),
        ({"d_model": 4, "nhead": 8}, "model.nhead", "want a divisor of d_model 4, got 8"),
    ],
)
@pytest.mark.parametrize("kind", ["transformer", "localformer"])
def test_widths_that_cannot_be_are_refused(kind: str, keys: dict[str, int], key: str, says: str) -> None:
    model = {"type": kind, **keys}
    days = {"train": ["2010-01-01", "2014-12-31"], "valid": ["2015-01-01", "2016-12-31"]}
    segments = {**days, "test": ["2017-01-01", "2020-08-01"]}
    with pytest.raises(ConfigError) as read:
        load_config({"data": {"bars": "bars", "segments": segments}, "model": model})
    with pytest.raises(ConfigError) as built:
        build(model, feature_set=ALPHA360, step_len=60)
    for message in (str(read.value), str(built.value)):
        assert f"{key}: {says}" in message
        assert "\n" not in message


@pytest.mark.parametrize("keys", [{"hidden_size": 1}, {"rnn_type": "RNN"}])
def test_alstm_refuses_what_it_cannot_be(keys: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=f"^model.{next(iter(keys))}: "):
        build({"type": "alstm", **keys}, feature_set=ALPHA360, step_len=60)


@pytest.mark.parametrize("layers", [1, 3])
def test_transformer_is_torchs_own(layers: int) -> None:
    """Steps that are not computed change no number, and neither does the order of the axes."""
    network = small("transformer", num_layers=layers).double()
    layer = nn.TransformerEncoderLayer(12, 3, dropout=0.0, batch_first=True, dtype=torch.float64)
    reference = nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)
    reference.load_state_dict(network.transformer_encoder.state_dict())
    x_NWF = torch.randn(5, 60, 6, dtype=torch.float64)
    x_NWH = network.feature_layer(x_NWF) + network.pos_encoder.pe[:, 0]
    expected_N1 = network.decoder_layer(reference(x_NWH)[:, -1])
    torch.testing.assert_close(network(x_NWF), expected_N1[:, 0])


@pytest.mark.parametrize("kind", ["transformer", "localformer"])
def test_attention_weights_are_within_reach_of_a_hook(kind: str) -> None:
    network, seen = small(kind), []

    def ask(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        return args, {**kwargs, "need_weights": True}

    for module in network.modules():
        if isinstance(module, nn.MultiheadAttention):
            module.register_forward_pre_hook(ask, with_kwargs=True)
            module.register_forward_hook(lambda module, inputs, output: seen.append(output[1]))
    x_NWF = torch.randn(5, 60, 6)
    torch.testing.assert_close(network(x_NWF), small(kind)(x_NWF))
    asked_by_last = 1 if kind == "transformer" else 60
    assert [tuple(weight.shape) for weight in seen] == [(5, 60, 60), (5, asked_by_last, 60)]
    for weight_NQW in seen:
        torch.testing.assert_close(weight_NQW.sum(dim=2), torch.ones_like(weight_NQW[..., 0]))


@pytest.mark.parametrize("kind", KINDS)
def test_flat_rows_score_as_windows(kind: str) -> None:
    network, x_NK = small(kind), torch.randn(5, 360)
    assert torch.equal(network(x_NK), network(unflatten_alpha360(x_NK)))


@pytest.mark.parametrize("kind", KINDS)
def test_evaluation_has_no_kernel_of_its_own(kind: str) -> None:
    network, x_NWF = small(kind), torch.randn(5, 60, 6)
    trained = network(x_NWF).detach()
    with torch.no_grad():
        assert torch.equal(network.eval()(x_NWF), trained)


@pytest.mark.parametrize("kind", KINDS)
def test_dropout_is_for_training_and_warns_of_nothing(kind: str) -> None:
    network, x_NWF = small(kind, dropout=0.5, num_layers=1), torch.randn(5, 60, 6)
    assert not torch.equal(network(x_NWF), network(x_NWF))
    network.eval()
    assert torch.equal(network(x_NWF), network(x_NWF))


def same(modules: nn.ModuleList) -> bool:
    first, *others = (torch.cat([value.flatten() for value in module.state_dict().values()]) for module in modules)
    return all(torch.equal(first, other) for other in others)


@pytest.mark.parametrize(("recipe", "equal"), [("raybench", False), ("qlib", True)])
def test_layers_start_equal_only_under_recipe_qlib(recipe: str, equal: bool) -> None:
    assert same(small("transformer", recipe, num_layers=3).transformer_encoder.layers) is equal
    encoder = small("localformer", recipe, num_layers=3).transformer_encoder
    assert (same(encoder.layers), same(encoder.conv)) == (equal, equal)
    for kind in ("transformer", "localformer"):
        assert len(NETWORKS[kind].model_validate({"num_layers": 3}).quirks("alpha360")) == 1
        assert NETWORKS[kind].model_validate({"num_layers": 1}).quirks("alpha360") == ()


def kept_floats(network: nn.Module, x_NWF: Tensor) -> float:
    """Count what autograd keeps per sample, parameters and the windows excluded."""
    own = {value.untyped_storage().data_ptr() for value in [*network.parameters(), x_NWF]}
    sizes = kept_for_backward(lambda: network(x_NWF))
    return sum(size for pointer, size in sizes.items() if pointer not in own) / 4 / len(x_NWF)
