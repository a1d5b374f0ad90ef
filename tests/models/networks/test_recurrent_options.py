"""The options of GRU and LSTM that Qlib has not: each does what it says, none changes anything when it is off."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import mse_loss

from raybench.config.networks import NETWORKS
from raybench.errors import ConfigError
from raybench.models import build
from raybench.models.layers import recurrence
from raybench.models.layers.regularisation import RegularisedRNN
from raybench.models.precision import MixedPrecision

KINDS = ("gru", "lstm")
W, F, H = 6, 5, 8
OPTIONS: dict[str, dict[str, Any]] = {
    "attention": {"pooling": "attention"},
    "variational": {"variational_dropout": 0.4},
    "dropconnect": {"recurrent_dropconnect": 0.4},
    "zoneout": {"zoneout": 0.3},
    "layer_norm": {"layer_norm": True},
    "bidirectional": {"bidirectional": True},
    "all": {
        "pooling": "attention",
        "dropout": 0.2,
        "variational_dropout": 0.4,
        "recurrent_dropconnect": 0.4,
        "zoneout": 0.3,
        "layer_norm": True,
        "bidirectional": True,
    },
}
NOISY = ("variational", "dropconnect", "zoneout", "all")
each_kind = pytest.mark.parametrize("kind", KINDS)
each_option = pytest.mark.parametrize("option", OPTIONS)


def make(kind: str, **keys: Any) -> Any:
    torch.manual_seed(3)
    columns = [f"COLUMN{i}" for i in range(F)]
    model = {"type": kind, "hidden_size": H, **keys}
    return build(model, feature_set={"type": "table", "columns": columns}, step_len=W)


def windows(samples: int = 7, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(samples, W, F, generator=torch.Generator().manual_seed(1), dtype=dtype)


def seeded(network: nn.Module, x_NWF: Tensor, seed: int = 9) -> Tensor:
    torch.manual_seed(seed)
    score_N: Tensor = network(x_NWF)
    return score_N


def gradients(network: nn.Module, x_NWF: Tensor) -> dict[str, Tensor]:
    network.zero_grad()
    mse_loss(seeded(network, x_NWF), torch.ones(len(x_NWF), dtype=x_NWF.dtype)).backward()
    return {name: value.grad.clone() for name, value in network.named_parameters() if value.grad is not None}


# ---- all of them


@each_kind
def test_with_all_off_it_is_torchs_own(kind: str) -> None:
    network, x_NWF = make(kind), windows()
    assert type(network.rnn) is {"gru": nn.GRU, "lstm": nn.LSTM}[kind]
    assert {name.partition(".")[0] for name in network.state_dict()} == {"rnn", "fc_out"}
    h_NWH, _ = network.rnn(x_NWF)
    assert torch.equal(network(x_NWF), network.fc_out(h_NWH[:, -1])[:, 0])


@each_option
@each_kind
def test_every_parameter_learns_and_is_counted(kind: str, option: str) -> None:
    """A parameter without a gradient would stop DistributedDataParallel."""
    network = make(kind, **OPTIONS[option])
    assert set(gradients(network, windows())) == set(dict(network.named_parameters()))
    keys = NETWORKS[kind].model_validate({"type": kind, "hidden_size": H, **OPTIONS[option]})
    assert keys.parameter_count(F, W) == sum(parameter.numel() for parameter in network.parameters())


@each_option
@each_kind
def test_evaluation_has_no_noise_and_no_neighbours(kind: str, option: str) -> None:
    network, x_NWF = make(kind, **OPTIONS[option]).double().eval(), windows(dtype=torch.float64)
    whole_N = seeded(network, x_NWF, seed=0)
    assert whole_N.dtype == torch.float64
    assert torch.equal(seeded(network, x_NWF, seed=1), whole_N)
    for sample in range(2):
        alone_1 = network(x_NWF[sample : sample + 1])
        torch.testing.assert_close(alone_1, whole_N[sample : sample + 1], atol=1e-12, rtol=0)


@pytest.mark.parametrize("option", NOISY)
@each_kind
def test_noise_comes_from_torchs_seed_alone(kind: str, option: str) -> None:
    """The loop seeds it from (seed, epoch, rank), so that a resumed run repeats and ranks differ."""
    network, x_NWF = make(kind, **OPTIONS[option]), windows()
    assert torch.equal(seeded(network, x_NWF), seeded(network, x_NWF))
    assert not torch.equal(seeded(network, x_NWF, seed=1), seeded(network, x_NWF, seed=2))


@each_option
@each_kind
def test_mixed_precision_stays_near(kind: str, option: str) -> None:
    network, x_NWF = make(kind, **OPTIONS[option]).eval(), windows()
    onednn = torch._C._get_mkldnn_enabled()
    with MixedPrecision("cpu"):
        found_N = network(x_NWF)
    assert torch._C._get_mkldnn_enabled() == onednn
    torch.testing.assert_close(found_N.float(), network(x_NWF), atol=3e-2, rtol=0)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:The tensor attributes self.rnn._flat_weights")
@pytest.mark.parametrize(("kind", "option"), [("gru", "all"), ("lstm", "dropconnect")])
def test_it_exports_for_any_number_of_windows(kind: str, option: str) -> None:
    network, x_NWF = make(kind, num_layers=1, **{**OPTIONS[option], "dropout": 0.0}).eval(), windows()
    exported = torch.export.export(network, (x_NWF,), dynamic_shapes=({0: torch.export.Dim("N")},)).module()
    torch.testing.assert_close(exported(windows(4)), network(windows(4)), atol=1e-6, rtol=1e-5)


# ---- the two ways to run a layer


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("written_out", [False, True])
@each_kind
def test_layer_by_layer_equals_torch(kind: str, written_out: bool, bidirectional: bool) -> None:
    """Torch's weights under torch's names give torch's states and gradients."""
    torch.manual_seed(4)
    torchs = {"gru": nn.GRU, "lstm": nn.LSTM}[kind](F, H, 2, batch_first=True, bidirectional=bidirectional)
    ours = RegularisedRNN("GRU" if kind == "gru" else "LSTM", F, H, 2, bidirectional=bidirectional)
    ours.load_state_dict(torchs.state_dict())
    ours.written_out = written_out
    x_NWF = windows()
    found, wanted = ours(x_NWF), torchs(x_NWF)
    torch.testing.assert_close(found, wanted, atol=1e-6, rtol=1e-5)
    for out_NWH, _ in (found, wanted):
        out_NWH.square().sum().backward()
    for name, value in torchs.named_parameters():
        torch.testing.assert_close(ours.get_parameter(name).grad, value.grad, atol=1e-6, rtol=1e-5)
    again = ours(x_NWF[:, 3:], ours(x_NWF[:, :3])[1])
    if not bidirectional:
        torch.testing.assert_close(again[1], wanted[1], atol=1e-6, rtol=1e-5)


@each_kind
def test_dropout_between_layers_is_torchs(kind: str) -> None:
    """Of one sample, values are dropped in the same order."""
    torch.manual_seed(4)
    torchs = {"gru": nn.GRU, "lstm": nn.LSTM}[kind](F, H, 3, batch_first=True, dropout=0.5)
    ours = RegularisedRNN("GRU" if kind == "gru" else "LSTM", F, H, 3, dropout=0.5)
    ours.load_state_dict(torchs.state_dict())
    found, wanted = (seeded(rnn, windows(1))[0] for rnn in (ours, torchs))
    torch.testing.assert_close(found, wanted, atol=1e-6, rtol=1e-5)
    assert not torch.allclose(ours.eval()(windows(1))[0], wanted, atol=1e-3)


@pytest.mark.parametrize("option", [name for name in OPTIONS if name not in ("bidirectional", "all")])
@each_kind
def test_stretches_of_time_change_no_number(kind: str, option: str) -> None:
    """With one layer the noise is drawn in the same order, whether time is cut or not."""
    network, x_NWF = make(kind, num_layers=1, **OPTIONS[option]).double(), windows(dtype=torch.float64)
    whole = gradients(network, x_NWF)
    network.checkpoint_chunks = 3
    for name, value in gradients(network, x_NWF).items():
        torch.testing.assert_close(value, whole[name], atol=1e-12, rtol=1e-10)


@each_kind
def test_what_is_computed_again_draws_the_same_noise(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    keys = {**OPTIONS["all"], "bidirectional": False}
    network, x_NWF = make(kind, **keys).double(), windows(dtype=torch.float64)
    network.checkpoint_chunks = 3
    found = gradients(network, x_NWF)
    monkeypatch.setattr(recurrence, "checkpoint", lambda run, *inputs, use_reentrant: run(*inputs))
    for name, value in gradients(network, x_NWF).items():
        torch.testing.assert_close(found[name], value, atol=1e-12, rtol=1e-10)


@each_kind
def test_both_ways_cannot_be_cut_in_time(kind: str) -> None:
    network = make(kind, bidirectional=True)
    with pytest.raises(ConfigError, match=r"train\.activation_checkpoint.*model\.bidirectional"):
        network.checkpoint_chunks = 3


# ---- pooling


@pytest.mark.parametrize("bidirectional", [False, True])
@each_kind
def test_attention_weighs_the_states(kind: str, bidirectional: bool) -> None:
    network, x_NWF = make(kind, pooling="attention", bidirectional=bidirectional).eval(), windows()
    seen: dict[str, Any] = {}
    network.pool.weights.register_forward_hook(lambda module, given, found: seen.update(weights=found))
    network.rnn.register_forward_hook(lambda module, given, found: seen.update(states=found[0]))
    score_N = network(x_NWF)
    weight_NW, state_NWH = seen["weights"], seen["states"]
    torch.testing.assert_close(weight_NW.sum(1), torch.ones(len(x_NWF)))
    assert weight_NW.std(dim=1).min() > 1e-5
    pooled_NH = torch.einsum("nw,nwh->nh", weight_NW, state_NWH)
    torch.testing.assert_close(score_N, network.fc_out(pooled_NH)[:, 0])


# ---- variational dropout


def without_memory(kind: str, **keys: Any) -> RegularisedRNN:
    """A network whose state at t depends on the input at t alone, so what is constant over time shows."""
    rnn: RegularisedRNN = make(kind, **keys).rnn
    with torch.no_grad():
        for name, value in rnn.named_parameters():
            if "weight_hh" in name:
                value.zero_()
            elif "weight_ih" in name:
                value[H : 2 * H] = 0.0  # the update gate of a GRU, the forget gate of an LSTM
            else:
                value[H : 2 * H] = -100.0
    return rnn


@each_kind
def test_variational_masks_hold_over_time_and_differ_between_samples(kind: str) -> None:
    rnn = without_memory(kind, variational_dropout=0.5)
    out_NWH, _ = rnn(torch.ones(40, W, F))
    assert torch.equal(out_NWH, out_NWH[:, :1].expand_as(out_NWH))
    assert len(out_NWH[:, 0].unique(dim=0)) > 35


@each_kind
def test_variational_masks_of_each_layer(kind: str) -> None:
    rnn = make(kind, variational_dropout=0.25).rnn
    masks = rnn.draw(windows(4000)).input_masks
    assert [mask.shape for mask in masks] == [(4000, 1, F), (4000, 1, H)]
    for mask in masks:
        torch.testing.assert_close(mask.unique(), torch.tensor([0.0, 1.0 / 0.75]))
        assert mask.mean(dim=0).sub(1.0).abs().max() < 0.04  # no column is masked more often than another
    assert rnn.eval().draw(windows()).input_masks == ()


# ---- DropConnect


@each_kind
def test_one_set_of_connections_serves_all_steps_and_samples(kind: str) -> None:
    """Torch's own network with the weights that were drawn gives the same states."""
    network, x_NWF = make(kind, recurrent_dropconnect=0.5), windows()
    rnn, stored = network.rnn, {name: value.clone() for name, value in network.rnn.state_dict().items()}
    torch.manual_seed(9)
    drawn = rnn.draw(x_NWF).hidden_weights
    for layer, weight_GH in enumerate(drawn):
        full_GH = stored[f"weight_hh_l{layer}"]
        assert torch.equal(weight_GH, torch.where(weight_GH == 0, 0.0, 2.0 * full_GH))
        assert 0.35 < (weight_GH == 0).float().mean() < 0.65
    plain = {"gru": nn.GRU, "lstm": nn.LSTM}[kind](F, H, 2, batch_first=True)
    plain.load_state_dict(stored | {f"weight_hh_l{layer}": weight for layer, weight in enumerate(drawn)})
    torch.testing.assert_close(seeded(rnn, x_NWF)[0], plain(x_NWF)[0], atol=1e-6, rtol=1e-5)

    rnn.zero_grad()
    seeded(rnn, x_NWF)[0].sum().backward()
    for layer, weight_GH in enumerate(drawn):
        grad_GH = rnn.get_parameter(f"weight_hh_l{layer}").grad
        assert grad_GH is not None
        assert torch.equal(grad_GH == 0, weight_GH == 0)


@each_kind
def test_evaluation_uses_all_connections(kind: str) -> None:
    network, x_NWF = make(kind, recurrent_dropconnect=0.5), windows()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    network(x_NWF)
    plain = make(kind)
    plain.load_state_dict(before)
    torch.testing.assert_close(network.eval()(x_NWF), plain(x_NWF), atol=1e-6, rtol=1e-5)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


# ---- zoneout


@each_kind
def test_zoneout_keeps_the_share_it_says(kind: str) -> None:
    rnn = make(kind, zoneout=0.3, num_layers=1).rnn
    torch.manual_seed(0)
    out_NWH, _ = rnn(torch.randn(3000, W, F))
    before_NWH = torch.cat([torch.zeros_like(out_NWH[:, :1]), out_NWH[:, :-1]], dim=1)
    kept_NWH = out_NWH == before_NWH
    assert abs(float(kept_NWH.float().mean()) - 0.3) < 0.005  # 144,000 draws: a standard error of 0.0012
    for dim in (1, 2):  # at every step, and for every unit
        others = [axis for axis in range(3) if axis != dim]
        assert kept_NWH.float().mean(dim=others).sub(0.3).abs().max() < 0.02
    if kind == "lstm":
        first_NH, first_c_NH = (value[0] for value in rnn(torch.randn(3000, 1, F))[1])
        both = ((first_NH == 0) & (first_c_NH == 0)).float().mean()
        assert abs(float(both) - 0.3 * 0.3) < 0.01  # hidden and cell state are drawn apart
        assert abs(float((first_c_NH == 0).float().mean()) - 0.3) < 0.01


@each_kind
def test_zoneout_changes_no_unit_that_moves_and_is_its_mean_in_evaluation(kind: str) -> None:
    rnn, plain = make(kind, zoneout=0.3, num_layers=1).rnn, make(kind, num_layers=1).rnn
    plain.load_state_dict(rnn.state_dict())
    x_N1F, h_1NH, c_1NH = windows()[:, :1], torch.rand(1, 7, H), torch.rand(1, 7, H)
    old = h_1NH if kind == "gru" else (h_1NH, c_1NH)
    moved, noisy = plain(x_N1F, old)[1], rnn(x_N1F, old)[1]
    mean = rnn.eval()(x_N1F, old)[1]
    states = [(old, moved, noisy, mean)] if kind == "gru" else list(zip(old, moved, noisy, mean, strict=True))
    for before, after, found, expected in states:
        kept = found == before
        torch.testing.assert_close(torch.where(kept, after, found), after, atol=1e-6, rtol=1e-5)
        torch.testing.assert_close(expected, 0.3 * before + 0.7 * after, atol=1e-6, rtol=1e-5)


# ---- layer norm


@pytest.mark.parametrize("name", ["weight_ih", "weight_hh"])
@each_kind
def test_layer_norm_takes_out_the_scale_of_the_weights(kind: str, name: str) -> None:
    @torch.no_grad()
    def change(**keys: Any) -> float:
        network, x_NWF = make(kind, **keys).double().eval(), windows(dtype=torch.float64)
        before_N = network(x_NWF)
        for key, value in network.rnn.named_parameters():
            if key.startswith(name):
                value.mul_(50.0)
        return float((network(x_NWF) - before_N).abs().max())

    assert change(layer_norm=True) < 0.02 * change()


@each_kind
def test_layer_norm_follows_its_equations(kind: str) -> None:
    """One step of one unit layer, from Ba et al. 2016 with plain arithmetic."""
    rnn = make(kind, layer_norm=True, num_layers=1).rnn.double()
    with torch.no_grad():
        for value in rnn.parameters():
            value.add_(0.3 * torch.randn_like(value))
    x_NF, h_NH, c_NH = windows(dtype=torch.float64)[:, 0], torch.rand(7, H).double(), torch.rand(7, H).double()
    p = dict(rnn.named_parameters())

    def normal(value: Tensor) -> Tensor:
        centred = value - value.mean(1, keepdim=True)
        return centred / (centred.square().mean(1, keepdim=True) + 1e-5).sqrt()

    together = (slice(0, 2 * H), slice(2 * H, None)) if kind == "gru" else (slice(None),)
    x_NG, h_NG = x_NF @ p["weight_ih_l0"].T, h_NH @ p["weight_hh_l0"].T
    x_NG = torch.cat([normal(x_NG[:, part]) for part in together], 1) * p["norm_ih_l0"] + p["bias_ih_l0"]
    h_NG = torch.cat([normal(h_NG[:, part]) for part in together], 1) * p["norm_hh_l0"] + p["bias_hh_l0"]
    if kind == "gru":
        (xr, xz, xn), (hr, hz, hn) = x_NG.split(H, 1), h_NG.split(H, 1)
        update = torch.sigmoid(xz + hz)
        wanted = (1 - update) * torch.tanh(xn + torch.sigmoid(xr + hr) * hn) + update * h_NH
        found = rnn(x_NF[:, None], h_NH[None])[1][0]
    else:
        enter, forget, cell, leave = (x_NG + h_NG).split(H, 1)
        c_NH_next = torch.sigmoid(forget) * c_NH + torch.sigmoid(enter) * torch.tanh(cell)
        seen = normal(c_NH_next) * p["norm_c_l0"] + p["norm_c_bias_l0"]
        wanted = torch.sigmoid(leave) * torch.tanh(seen)
        found, found_c = (value[0] for value in rnn(x_NF[:, None], (h_NH[None], c_NH[None]))[1])
        torch.testing.assert_close(found_c, c_NH_next, atol=1e-12, rtol=1e-10)
    torch.testing.assert_close(found, wanted, atol=1e-12, rtol=1e-10)


# ---- bidirectional


@pytest.mark.parametrize("keys", [{}, {"variational_dropout": 0.3}, {"layer_norm": True}])
@each_kind
def test_both_ways_sees_later_rows_of_its_own_window_only(kind: str, keys: dict[str, Any]) -> None:
    def seen(bidirectional: bool) -> Tensor:
        """Whether the states of sample 2 at row 1 depend on each row of each sample [N, W]."""
        network = make(kind, bidirectional=bidirectional, **keys).eval()
        x_NWF = windows().requires_grad_()
        network.rnn(x_NWF)[0][2, 1].sum().backward()
        assert x_NWF.grad is not None
        return x_NWF.grad.abs().sum(2) > 0

    rows_NW = torch.zeros(7, W, dtype=torch.bool)
    rows_NW[2] = True
    assert torch.equal(seen(True), rows_NW)
    rows_NW[2, 2:] = False
    assert torch.equal(seen(False), rows_NW)


@each_kind
def test_both_ways_scores_from_where_each_direction_ends(kind: str) -> None:
    network, x_NWF = make(kind, bidirectional=True).eval(), windows()
    out_NWH, _ = network.rnn(x_NWF)
    ends_NH = torch.cat([out_NWH[:, -1, :H], out_NWH[:, 0, H:]], dim=1)
    torch.testing.assert_close(network(x_NWF), network.fc_out(ends_NH)[:, 0])
