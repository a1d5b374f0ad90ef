"""The tables and the report of an explanation: complete, self-contained, reproducible."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor, nn

from raybench.errors import DataError
from raybench.explanation.explanation import Explanation, explain_section, step_correlation
from raybench.explanation.importance import measure_importance
from raybench.explanation.report import ExplanationReport, to_html
from raybench.explanation.tables import FILES, tables_of
from raybench.models.networks.alstm import ALSTM
from tests.explanation.made_up import MadeUp, section

FEATURES = ("a", "b", "c", "d")
NAMED = ("I007", "I003")


class Among(nn.Module):
    """Instruments attend to each other and to themselves, and to three places."""

    batches = "dates"

    def __init__(self) -> None:
        super().__init__()
        self.rnn = nn.LSTM(4, 3, batch_first=True)
        self.places = nn.Linear(3, 3)
        self.among, self.to_place = nn.Softmax(dim=1), nn.Softmax(dim=1)

    def forward(self, x: Tensor, sizes: tuple[int, ...] | None = None) -> Tensor:
        h_NH = self.rnn(x)[0][:, -1]
        mixed_NH = self.among(h_NH @ h_NH.T) @ h_NH
        return (mixed_NH * self.to_place(self.places(h_NH))).sum(dim=1)


def explained(network: nn.Module, **shape: int) -> Explanation:
    day = section("2020-01-02", **shape)
    subject = MadeUp(network, FEATURES, [day])
    importance = measure_importance(subject, day.moment, day.moment + 1, repeats=2, seed=0)
    return explain_section(subject, day, importance)


@pytest.fixture(scope="module")
def alstm() -> Explanation:
    torch.manual_seed(0)
    return explained(ALSTM(4, hidden_size=6, num_layers=1))


@pytest.fixture(scope="module")
def page(alstm: Explanation) -> str:
    return page_of(alstm, named=NAMED)


@pytest.fixture(scope="module")
def among() -> Explanation:
    torch.manual_seed(0)
    return explained(Among())


def page_of(explanation: Explanation, **options: object) -> str:
    return to_html(ExplanationReport(explanation=explanation, title="ALSTM <on> x", span="this date alone", **options))  # type: ignore[arg-type]


def test_every_figure_is_drawn(page: str) -> None:
    drawn = re.findall(r"<figcaption><h2>(.*?)</h2>", page)
    assert page.count("<svg") == len(drawn) + page.count("<figure class=wide")
    assert drawn == [
        "Importance by feature", "Importance by lag", "Input gradients", "Gradients of I003", "Gradients of I007",
        "Attention att_softmax", "Hidden states rnn.l0", "Gates rnn.l0", "Time steps rnn.l0",
    ]  # fmt: skip
    assert "ALSTM &lt;on&gt; x" in page
    assert "nan" not in re.sub(r"<svg.*?</svg>", "", page, flags=re.DOTALL).lower()


def test_page_needs_no_network_and_comes_again(alstm: Explanation, page: str) -> None:
    links = re.findall(r"""(?:src|href)\s*=\s*["']([^"']*)|url\(["']?([^)"']*)|@import""", page)
    assert {(a or b)[:11] for a, b in links if not (a or b).startswith("#")} == {"data:image/"}
    assert "<script" not in page
    assert page == page_of(alstm, named=NAMED)


def test_instruments_that_attend_to_each_other(among: Explanation) -> None:
    page = page_of(among)
    assert "Attention among" in page
    assert "Attention to_place" in page
    assert "all scores of the date together" in page
    assert among.absent == {}


def test_what_a_network_lacks_is_said() -> None:
    class Newest(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.detach()[:, -1, 0]

    found = explained(Newest())
    assert list(found.absent) == ["hidden_states", "gates", "attention", "gradients"]
    page = page_of(found)
    assert "No hidden states: " in page
    assert page.count("<figure") == 2
    names = [name for name, _ in tables_of(found)]
    assert names == ["instruments.parquet", "importance.parquet"]


@pytest.mark.parametrize("shape", [{"samples": 1, "steps": 30}, {"samples": 2, "steps": 1}])
def test_few_instruments_and_few_steps_are_drawn_too(shape: dict[str, int]) -> None:
    torch.manual_seed(0)

    class Short(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.rnn = nn.GRU(4, 3, batch_first=True)

        def forward(self, x: Tensor) -> Tensor:
            return self.rnn(x)[0][:, -1].sum(dim=1)

    day = section("2020-01-02", **shape)
    day_of_ones = MadeUp(Short(), FEATURES, [day])
    importance = measure_importance(day_of_ones, day.moment, day.moment + 1, repeats=1, seed=0)
    assert page_of(explain_section(day_of_ones, day, importance)).count("<figure") == 6


def test_tables_hold_what_was_seen(alstm: Explanation) -> None:
    tables = {name: table.to_pandas() for name, table in tables_of(alstm, NAMED)}
    assert tuple(tables) == FILES
    hidden = tables["hidden_states.parquet"]
    row = hidden.query("layer == 'rnn.l0' and instrument == 'I007' and step == 2 and unit == 4")
    assert row["value"].item() == alstm.hidden["rnn.l0"][7, 2, 4].item()
    assert set(hidden["instrument"]) == set(NAMED)
    gates, units = tables["gates.parquet"], tables["gate_units.parquet"]
    keys = ["layer", "gate", "instrument", "step"]
    means = units.groupby(keys, as_index=False)["value"].mean()
    pd.testing.assert_frame_equal(
        gates.sort_values(keys, ignore_index=True), means.sort_values(keys, ignore_index=True), rtol=1e-5
    )
    gradient = tables["gradients.parquet"].query("instrument == 'I003' and step == 4 and feature == 'b'")
    assert alstm.gradient_NWF is not None
    assert gradient["value"].item() == alstm.gradient_NWF[3, 4, 1].item()
    assert gradient["input"].item() == alstm.x_NWF[3, 4, 1].item()
    attention = tables["attention.parquet"]
    assert attention.groupby("instrument")["weight"].sum().to_numpy() == pytest.approx(1.0, abs=1e-6)
    assert attention[["other", "from_step", "place"]].isna().all(axis=None)
    assert len(tables["instruments.parquet"]) == 40


def test_attention_of_several_kinds_is_one_table(among: Explanation) -> None:
    tables = dict(tables_of(among))
    attention = tables["attention.parquet"].to_pandas()
    pair = attention.query("source == 'among' and instrument == 'I002' and other == 'I005'")
    assert pair["weight"].item() == among.attention["among"].weight[2, 5].item()
    assert attention.query("source == 'to_place'")["place"].max() == 2
    assert "gate_units.parquet" not in tables


def test_strangers_are_named(alstm: Explanation) -> None:
    with pytest.raises(DataError, match="--instruments names I999"):
        alstm.places_of(["I001", "I999"])


def test_correlation_of_steps_is_that_of_what_instruments_differ_in() -> None:
    torch.manual_seed(0)
    h_NWH = torch.randn(20, 4, 3)
    centred = (h_NWH - h_NWH.mean(dim=0)).permute(1, 0, 2).reshape(4, -1).numpy()
    np.testing.assert_allclose(step_correlation(h_NWH), np.corrcoef(centred), atol=1e-6)
    level = h_NWH + 10.0 * torch.randn(1, 4, 3)  # a level of a unit is no difference between instruments
    np.testing.assert_allclose(step_correlation(level), step_correlation(h_NWH), atol=1e-4)
    assert np.isnan(step_correlation(h_NWH[:1])).all()
