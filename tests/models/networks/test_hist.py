"""HIST against its equations written out date by date, and dates beside each other against dates alone."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from raybench.errors import ConfigError
from raybench.models import build, takes_dates
from tests.models.dates import SIZES, assert_dates_stay_apart, date_slices, gradients, samples

FEATURES = {"type": "table", "columns": ["A", "B", "C"]}
CONCEPTS = 6


def hist(**keys: Any) -> nn.Module:
    torch.manual_seed(0)
    return build({"type": "hist", "hidden_size": 8, **keys}, feature_set=FEATURES, step_len=5).double()


def members(number: int, share: float = 0.3) -> Tensor:
    """Memberships of which the last concept has none; whole numbers, as a table gives them."""
    torch.manual_seed(number)
    member_NK = (torch.rand(number, CONCEPTS) < share).float()
    member_NK[:, -1] = 0
    return member_NK


def cosine(a_H: Tensor, b_H: Tensor) -> Tensor:
    return a_H @ b_H / (a_H.norm() * b_H.norm() + 1e-6)


def taken(own_H: Tensor, concepts: list[Tensor]) -> Tensor:
    """The mean of the concepts there are, weighed by the softmax of their cosines; nothing of none."""
    if not concepts:
        return torch.zeros_like(own_H)
    weight_K = torch.stack([cosine(own_H, concept_H) for concept_H in concepts]).softmax(0)
    return weight_K @ torch.stack(concepts)


def by_hand(network: nn.Module, x_NWF: Tensor, member_NK: Tensor) -> Tensor:
    """One date, an instrument and a concept at a time; concepts without a member are left out."""
    layer = dict(network.named_children())
    x = list(layer["rnn"](x_NWF)[0][:, -1])
    everyone = range(len(x))
    known = []
    for k in range(member_NK.shape[1]):
        inside = [i for i in everyone if member_NK[i, k]]
        if inside:
            known.append(torch.stack([x[i] for i in inside]).sum(0) / (len(inside) + 1))
    shared = [layer["fc_es"](taken(x_H, known)) for x_H in x]
    y = [x_H - layer["fc_es_back"](s_H) for x_H, s_H in zip(x, shared, strict=True)]

    nearest: dict[int, int] = {}
    for i in everyone:
        others = [(float(cosine(y[i], y[j]).detach()), -j) for j in everyone if j != i]
        if others and max(others)[0] > 0:
            nearest[i] = -max(others)[1]
    hidden = []
    for k in sorted(set(nearest.values())):
        linked = [y[i] * cosine(y[i], y[k]) for i in everyone if nearest.get(i) == k]
        hidden.append(torch.stack([y[k] * cosine(y[k], y[k]), *linked]).sum(0))
    alike = [layer["fc_is"](taken(y_H, hidden)) for y_H in y]

    relu = nn.LeakyReLU()
    scores = []
    for s_H, t_H, y_H in zip(shared, alike, y, strict=True):
        z_H = y_H - layer["fc_is_back"](t_H)
        heads = relu(layer["fc_es_fore"](s_H)) + relu(layer["fc_is_fore"](t_H)) + relu(layer["fc_indi"](z_H))
        scores.append(layer["fc_out"](heads))
    return torch.cat(scores)


@pytest.mark.parametrize("base_model", ["GRU", "LSTM"])
@pytest.mark.parametrize(("number", "share"), [(9, 0.3), (30, 0.3), (2, 1.0), (1, 1.0), (5, 0.0)])
def test_it_is_its_equations(number: int, share: float, base_model: str) -> None:
    network = hist(base_model=base_model)
    (x_NWF, label_N), member_NK = samples(number), members(number, share)
    score_N = network(x_NWF, concepts=member_NK)
    want_N = by_hand(network, x_NWF, member_NK)
    torch.testing.assert_close(score_N, want_N, atol=1e-10, rtol=1e-8)
    (score_N - label_N).square().sum().backward()
    found = gradients(network)
    (want_N - label_N).square().sum().backward()
    for name, value in gradients(network).items():
        torch.testing.assert_close(found[name], value, atol=1e-8, rtol=1e-7)


@pytest.mark.parametrize("sizes", SIZES)
def test_dates_beside_each_other_are_dates_alone(sizes: tuple[int, ...]) -> None:
    network = hist()
    assert takes_dates(network)
    x_NWF, label_N = samples(sum(sizes))
    member_NK = members(sum(sizes))
    member_NK[: sizes[0]] = 0  # a date on which no concept has a member
    assert_dates_stay_apart(network, sizes, x_NWF, label_N, lambda rows: {"concepts": member_NK[rows]})


def test_concepts_that_nobody_is_in_change_nothing() -> None:
    """So a table that gains concepts later leaves earlier dates as they were."""
    network, (x_NWF, _), member_NK = hist(), samples(8), members(8)
    more_NK = torch.cat([torch.zeros(8, 3), member_NK, torch.zeros(8, 2)], dim=1)
    torch.testing.assert_close(network(x_NWF, concepts=more_NK), network(x_NWF, concepts=member_NK))
    more_NK[:4, 0] = 1
    assert not torch.allclose(network(x_NWF, concepts=more_NK), network(x_NWF, concepts=member_NK))


def test_weights_can_be_looked_at() -> None:
    seen: dict[str, Tensor] = {}
    network, sizes = hist(), (6, 4)
    for name in ("concept_attention", "hidden_attention"):
        network.get_submodule(name).register_forward_hook(
            lambda module, given, weight, name=name: seen.update({name: weight})
        )
    member_NK = members(10, 0.5)
    network(samples(10)[0], sizes, concepts=member_NK)
    assert seen["concept_attention"].shape == (2, 6, CONCEPTS)
    assert seen["hidden_attention"].shape == (2, 6, 6)
    for weight in seen.values():
        torch.testing.assert_close(weight.sum(-1), torch.ones(2, 6, dtype=torch.float64))
    for date, rows in enumerate(date_slices(sizes)):
        held_K = member_NK[rows].sum(0) > 0
        assert torch.equal(seen["concept_attention"][date, 0] > 0, held_K)
    assert not seen["hidden_attention"][1, :, 4:].any()


def test_states_of_zero_have_a_gradient() -> None:
    """Where nothing comes in the length of a state is 0, of which the square root has no derivative."""
    network = hist(num_layers=1)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.zero_()
    network(samples(3)[0], (2, 1), concepts=members(3)).sum().backward()
    assert all(torch.isfinite(value).all() for value in gradients(network).values())


def test_without_concepts_it_says_so() -> None:
    with pytest.raises(ConfigError, match=r"data\.concepts"):
        hist()(samples(3)[0])
