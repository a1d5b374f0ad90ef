"""All that is said of one date: from a subject to an Explanation.

Shapes: N instruments of the datetime, W steps (oldest first), F features, H hidden units.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from raybench.errors import DataError
from raybench.explanation.gates import LayerGates
from raybench.explanation.gradients import input_gradients
from raybench.explanation.importance import Importance
from raybench.explanation.subject import CrossSection, Subject
from raybench.explanation.trace import Attention, trace
from raybench.scoring.predictor import repeatable

NO_HIDDEN = "nothing in the network has an entry for every step"
NO_GATES = "the network has no GRU or LSTM layer"
NO_ATTENTION = "the network has no attention"
NO_GRADIENTS = "the network cannot be differentiated by its input"


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """What a network does with the instruments of one datetime.

    Attributes
    ----------
    moment, instrument_N, score_N, label_N : the datetime, its instruments in ascending order, their scores and
        raw labels (NaN where there is none)
    features : names along F
    x_NWF : the windows as the network is given them
    hidden : states [N, W, H] by layer
    correlation : of hidden states between steps [W, W] by layer, see ``step_correlation``
    gates : by recurrent layer
    attention : by module
    gradient_NWF : of the score by the window, None if the network has none
    across : a score depends on the other instruments too, so the gradient is that of the sum of all scores
    importance : of features and lags, over its own range of dates
    """

    moment: np.datetime64
    instrument_N: NDArray[np.str_]
    score_N: NDArray[np.float64]
    label_N: NDArray[np.float64]
    features: tuple[str, ...]
    x_NWF: Tensor
    hidden: Mapping[str, Tensor]
    correlation: Mapping[str, NDArray[np.float64]]
    gates: Mapping[str, LayerGates]
    attention: Mapping[str, Attention]
    gradient_NWF: Tensor | None
    across: bool
    importance: Importance

    @property
    def absent(self) -> dict[str, str]:
        """Parts that this network does not have, and why."""
        found = {
            "hidden_states": (self.hidden, NO_HIDDEN),
            "gates": (self.gates, NO_GATES),
            "attention": (self.attention, NO_ATTENTION),
            "gradients": (self.gradient_NWF is not None, NO_GRADIENTS),
        }
        return {name: why for name, (there, why) in found.items() if not there}

    def places_of(self, instruments: Sequence[str]) -> NDArray[np.int64]:
        """Positions along N of the named instruments, of all where none is named; DataError for strangers."""
        check_named(instruments, self.instrument_N, self.moment)
        if not instruments:
            return np.arange(len(self.instrument_N))
        return np.searchsorted(self.instrument_N, sorted(set(instruments)))


def check_named(instruments: Sequence[str], instrument_N: NDArray[np.str_], moment: np.datetime64) -> None:
    """DataError for the first of the named ``instruments`` that is not among those of the date."""
    known = set(instrument_N)
    strangers = [name for name in instruments if name not in known]
    if strangers:
        raise DataError(
            f"--instruments names {strangers[0]}, which has no score on {moment.astype('datetime64[D]')}; "
            f"want some of the {len(instrument_N)} from {instrument_N[0]} to {instrument_N[-1]}"
        )


def explain_section(subject: Subject, section: CrossSection, importance: Importance) -> Explanation:
    """Explain one datetime."""
    with repeatable():
        score_N = subject.scores(section.inputs)
        seen = trace(subject.network, section.inputs, across=subject.across)
        gradient_NWF = input_gradients(subject.network, section.inputs)
    return Explanation(
        moment=section.moment,
        instrument_N=section.instrument_N,
        score_N=score_N,
        label_N=section.label_N,
        features=subject.features,
        x_NWF=section.inputs.x_BWF,
        hidden=seen.hidden,
        correlation={name: step_correlation(h_NWH) for name, h_NWH in seen.hidden.items()},
        gates=seen.gates,
        attention=seen.attention,
        gradient_NWF=gradient_NWF,
        across=subject.across,
        importance=importance,
    )


def step_correlation(h_NWH: Tensor) -> NDArray[np.float64]:
    """Correlate the states of each two steps over instruments and units -> [W, W].

    From each state the mean of its unit over the instruments of that step is taken first, so that it says whether
    the instruments keep their differences, not whether units have levels. NaN where all instruments are alike.
    """
    centred_NWH = (h_NWH - h_NWH.mean(dim=0)).double()
    covariance_WW = torch.einsum("nsh,nth->st", centred_NWH, centred_NWH).numpy()
    deviation_W = np.sqrt(np.diag(covariance_WW))
    scale_WW = np.outer(deviation_W, deviation_W)
    result_WW: NDArray[np.float64] = np.full(covariance_WW.shape, np.nan)
    np.divide(covariance_WW, scale_WW, out=result_WW, where=scale_WW > 0)
    return result_WW
