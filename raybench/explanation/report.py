"""The report of an explanation: one HTML page that needs no network. Equal content gives equal bytes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from raybench.explanation import figures
from raybench.explanation.explanation import Explanation
from raybench.explanation.importance import RANK_IC_DROP
from raybench.explanation.trace import FROM_STEP, INSTRUMENT, OTHER, PLACE, STEP, Attention
from raybench.reports.html import Drawing, FigureCard, Page, number
from raybench.reports.html import to_html as page_html
from raybench.reports.text import to_text

MOST_NAMED = 6  # instruments whose own gradients are drawn
_RULES = (
    "Everything here describes the network, not the market: a feature that matters to the score need not matter to "
    "returns. Gradients and permutations are taken of the inputs as the processors leave them. A permutation "
    "hands a feature, or all features of one row of the window, round among the instruments of a date; features "
    "that say the same stand in for each other, so each of them may seem to matter little."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ExplanationReport:
    """What a report shows.

    named: instruments whose own gradients are drawn. span: the dates of the importance, in words. inputs: what
    was explained and with what, listed at the foot of the page.
    """

    explanation: Explanation
    title: str
    span: str
    named: Sequence[str] = ()
    inputs: Mapping[str, str] = field(default_factory=dict)


def to_html(report: ExplanationReport) -> str:
    """Write the page."""
    return page_html(
        Page(
            kind="explanation",
            title=report.title,
            subtitle=_subtitle(report),
            cards=_cards(report),
            drawings=_drawings(report),
            rules=_RULES,
            inputs=report.inputs,
        )
    )


def _subtitle(report: ExplanationReport) -> str:
    moment = pd.Timestamp(report.explanation.moment)
    clock = f" {moment:%H:%M}" if moment != moment.normalize() else ""
    absent = "; ".join(f"no {name.replace('_', ' ')}: {why}" for name, why in report.explanation.absent.items())
    return to_text(f"{moment.day} {moment:%B %Y}{clock}. {absent[:1].upper() + absent[1:]}{'.' if absent else ''}")


def _cards(report: ExplanationReport) -> list[FigureCard]:
    explanation = report.explanation
    importance = explanation.importance
    drops = importance.measure == RANK_IC_DROP
    what = "of Rank IC lost when it is exchanged" if drops else "mean change of the score when it is exchanged"
    tops = {kind: top_of(importance.table, kind) for kind in ("feature", "lag")}
    found = [
        FigureCard(
            name="Most important feature",
            value=tops["feature"][0],
            note=f"{number(tops['feature'][1], 4)} {what}",
            means=f"Between instruments, mean over {report.span}.",
            lead=True,
        ),
        FigureCard(
            name="Most important lag",
            value=tops["lag"][0],
            note=f"{number(tops['lag'][1], 4)} {what}",
            means="Rows before the date; 0 is the date itself.",
            lead=True,
        ),
        FigureCard(
            name="Rank IC",
            value=number(importance.rank_ic, 4),
            means=f"Of the scores as they are, {report.span}: what the permutations are measured against.",
            lead=True,
        ),
        FigureCard(
            name="Instruments",
            value=f"{len(explanation.instrument_N):,}",
            means=f"Scored on this date. Spread of the scores {number(float(explanation.score_N.std()), 4)} "
            "(standard deviation).",
            lead=True,
        ),
    ]
    return found


def top_of(table: pd.DataFrame, kind: str) -> tuple[str, float]:
    """Name the feature, or the lag, that matters most, and say how much."""
    rows = table[table["kind"] == kind]
    top = rows.iloc[int(rows["mean"].fillna(-np.inf).argmax())]
    return str(top["name"]), float(top["mean"])


def _drawings(report: ExplanationReport) -> list[Drawing]:
    explanation = report.explanation
    return [
        *_importance(explanation, report.span),
        *_gradients(explanation, report.named),
        *_attention(explanation),
        *_states(explanation),
    ]


def _importance(explanation: Explanation, span: str) -> list[Drawing]:
    found = explanation.importance
    drops = found.measure == RANK_IC_DROP
    title = "Drop of the Rank IC" if drops else "Mean absolute change of the score"
    below = "Below 0 the network would do better without. " if drops else "There are no labels to compare with. "
    by_kind = {kind: found.table[found.table["kind"] == kind] for kind in ("feature", "lag")}
    return [
        Drawing(
            name="Importance by feature",
            means=f"What is lost when a feature's windows are handed round among the instruments of a date; {span}. "
            f"{below}Lines are one standard deviation over the repeats; few dates are mostly chance.",
            draw=partial(figures.feature_importance, by_kind["feature"], title),
        ),
        Drawing(
            name="Importance by lag",
            means="The same for all features of one row of the window at once: how far back the network looks.",
            draw=partial(figures.lag_importance, by_kind["lag"], title, len(by_kind["feature"])),
        ),
    ]


def _gradients(explanation: Explanation, named: Sequence[str]) -> list[Drawing]:
    if explanation.gradient_NWF is None:
        return []
    gradient_NWF = explanation.gradient_NWF.numpy()
    whose = "all scores of the date together" if explanation.across else "the score"
    drawings = [
        Drawing(
            name="Input gradients",
            means=f"How much {whose} would move with each number of the window, mean over the instruments.",
            draw=partial(figures.gradient_map, gradient_NWF, explanation.features),
            wide=True,
        )
    ]
    for place in explanation.places_of(named)[:MOST_NAMED] if named else ():
        one = Drawing(
            name=f"Gradients of {explanation.instrument_N[place]}",
            means=f"Score {number(float(explanation.score_N[place]), 4)}. Blue raises {whose}, rust lowers it.",
            draw=partial(figures.gradient_of_one, gradient_NWF[place], explanation.features),
        )
        drawings.append(one)
    return drawings


def _attention(explanation: Explanation) -> list[Drawing]:
    drawn = ((name, _attention_figure(each, explanation)) for name, each in explanation.attention.items())
    return [Drawing(name=f"Attention {name}", means=means, draw=draw, wide=wide) for name, (means, draw, wide) in drawn]


def _attention_figure(attention: Attention, explanation: Explanation) -> tuple[str, partial[Figure], bool]:
    """How weights are drawn: what the drawing means, how it is made, whether it needs the whole width."""
    axes, score_N = attention.axes, explanation.score_N

    def kept(*names: str) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
        order = [axis for axis in axes if axis in names]
        return np.moveaxis(attention.mean_over(names).numpy(), [order.index(name) for name in names], (0, 1))

    if FROM_STEP in axes:
        means = "Which row of the window attends to which, mean over the instruments and the heads."
        return means, partial(figures.attention_between_steps, kept(FROM_STEP, STEP)), False
    if OTHER in axes:
        means = "Whom each instrument attends to. Upright stripes are instruments that all attend to."
        return means, partial(figures.attention_among_instruments, kept(INSTRUMENT, OTHER), score_N), True
    if STEP in axes:
        means = "How much each row of the window counts; the weights of an instrument add up to 1."
        return means, partial(figures.attention_over_time, kept(INSTRUMENT, STEP), score_N), True
    means = "Weights of every instrument on the places that the network numbers."
    return means, partial(figures.attention_to_places, kept(INSTRUMENT, PLACE), score_N), True


def _states(explanation: Explanation) -> list[Drawing]:
    drawings = []
    for layer, h_NWH in explanation.hidden.items():
        drawings.append(
            Drawing(
                name=f"Hidden states {layer}",
                means="A row a unit, sorted by the newest state. Right: where instruments are told apart.",
                draw=partial(figures.hidden_map, h_NWH.numpy()),
                wide=True,
            )
        )
        if layer in explanation.gates:
            gates = {name: gate_NWH.numpy() for name, gate_NWH in explanation.gates[layer].gates.items()}
            drawings.append(
                Drawing(
                    name=f"Gates {layer}",
                    means=_GRU if "update" in gates else _LSTM,
                    draw=partial(figures.gate_maps, gates),
                    wide=True,
                )
            )
    for layer, value_WW in explanation.correlation.items():
        drawings.append(
            Drawing(
                name=f"Time steps {layer}",
                means="Whether instruments differ on one step as they do on another: a broad blue band is a long "
                "memory.",
                draw=partial(figures.correlation_map, value_WW),
            )
        )
    return drawings


_GRU = (
    "Mean over instruments. An update gate near 1 keeps the state, near 0 takes the new one; a reset gate near 0 "
    "forgets the state when the new one is made. Blue is above one half, rust below (of the new state: above 0)."
)
_LSTM = (
    "Mean over instruments. The forget gate says how much of the memory stays, the input gate how much of the new "
    "cell value enters, the output gate how much of the memory shows. Blue is above one half, rust below (of the cell "
    "value: above 0)."
)
