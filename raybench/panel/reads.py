"""What the scores of a run read up to each day, out of its configuration and its processors."""

from __future__ import annotations

from raybench.config.data.alpha_reach import fields_of, rows_of
from raybench.config.data.label import DEFAULT_LABEL, LabelExpression, parse_label
from raybench.config.panel_spec import PanelSpec
from raybench.panel.row_hashes import BARS, FEATURES, SECOND, Reads
from raybench.processors.base import PerDate, Processor, Ranking, RowFilter
from raybench.processors.chain import Chain


def reads_of(
    spec: PanelSpec, chain: Chain, *, from_table: bool, label: str | None = None, remembers: bool = False
) -> Reads:
    """What the first window reads; ``remembers``: with the losses of a window's dates before it.

    ``label``: the column of a feature table that has it.
    """
    data = spec.data
    lead = lead_of(spec, remembers=remembers)
    window = 0 if lead and has_filter(chain) else lead + 1
    compared = _compares(chain.infer, "feature") or (remembers and _compares(chain.learn, "label"))
    if from_table:
        fields = chain.columns if label is None or not remembers else tuple(dict.fromkeys((*chain.columns, label)))
        return Reads(source=FEATURES, universe=data.universe, fields=fields, window=window, compared=compared)
    fields, lookback = fields_of(data.feature_set, chain.columns), rows_of(data.feature_set, chain.columns) - 1
    if data.feature_set.type == "alpha360":
        lookback = data.step_len - 1
    if remembers:
        labels = label_of(spec)
        fields, lookback = tuple(dict.fromkeys((*fields, *labels.fields))), max(lookback, labels.reach)
    return Reads(
        source=BARS, universe=data.universe, fields=fields, window=window, lookback=lookback, compared=compared
    )


def second_reads(spec: PanelSpec, chain: Chain) -> Reads:
    """What the second window reads: the oldest row that counts, and the window that ends with it."""
    second, own = spec.data.second, spec.second
    assert second is not None, "there is a second window"
    assert own is not None, "there is a second window"
    features = own.data.feature_set
    lookback = second.step_len - 1 if features.type == "alpha360" else rows_of(features, chain.columns) - 1
    return Reads(
        source=SECOND,
        universe=own.data.universe,
        fields=tuple(dict.fromkeys((*fields_of(features, chain.columns), "close"))),
        window=0 if has_filter(chain) else 2 * second.step_len - 1,
        lookback=lookback,
        compared=_compares(chain.infer, "feature"),
        lag_minutes=second.lag_minutes,
    )


def label_of(spec: PanelSpec) -> LabelExpression:
    """The label that bars give: a run that learned from a table may have the name of a column there."""
    return parse_label(spec.data.label if "$" in spec.data.label else DEFAULT_LABEL)


def lead_of(spec: PanelSpec, *, remembers: bool) -> int:
    """Entries of the calendar before the first that is scored, of which the frame has to have rows."""
    return ((spec.data.feature_set.type != "alpha360") + remembers) * (spec.data.step_len - 1)


def has_filter(chain: Chain) -> bool:
    """Whether rows go that windows then reach over: how far back they read shows only when that is done."""
    return any(isinstance(step, RowFilter) for step in chain.infer)


def _compares(steps: tuple[Processor, ...], group: str) -> bool:
    return any(isinstance(step, PerDate | Ranking) and group in step.groups for step in steps)
