"""Running the infer and learn processors of a run over a table and its label.

Shapes: R frame rows, M table rows (M = R until a row filter drops some), K rows that a stage still
has, F columns. As in Qlib the learn table is the infer table with the learn processors applied after;
where those leave the features alone it shares the infer table's memory and is only a list of rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

import numpy as np
import numpy.typing as npt

from raybench.config.data.processors import ProcessorsConfig
from raybench.errors import ConfigError
from raybench.processors.base import ColumnFilter, Processor, RowFilter
from raybench.processors.by_date import Float32
from raybench.processors.column import Params, Rows, process_column
from raybench.processors.fitted import FittedProcessors, FittedStep, changes_features, make_processor, select_columns
from raybench.processors.table import FeatureColumns

Int64 = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Chain:
    """The processors of a configuration, not fitted: ``table_columns`` go in, ``columns`` come out."""

    table_columns: tuple[str, ...]
    columns: tuple[str, ...]
    infer: tuple[Processor, ...]
    learn: tuple[Processor, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """A processed table, the rows of it that remain, and their label.

    frame_M: frame row of each table row. kept_K: table rows that remain. label_K: their label.
    owned: whether the table may be changed, or belongs to the stage before.
    """

    table: FeatureColumns
    frame_M: Int64
    kept_K: Int64
    label_K: Float32
    owned: bool = True

    @property
    def frame_K(self) -> Int64:
        """Frame row of each row that remains."""
        return self.frame_M[self.kept_K]

    def compact(self) -> Stage:
        """The same with no table rows but those that remain, in a table of its own."""
        if self.owned and len(self.kept_K) == self.table.num_rows:
            return self
        return Stage(
            table=self.table.take(self.kept_K),
            frame_M=self.frame_K,
            kept_K=np.arange(len(self.kept_K)),
            label_K=self.label_K,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Stages:
    """Both stages and the fitted chain."""

    infer: Stage
    learn: Stage | None
    fitted: FittedProcessors


def make_chain(given: ProcessorsConfig, table_columns: tuple[str, ...], *, recipe: str) -> Chain:
    """Check the processors of a configuration against the table's columns and the recipe."""
    made_infer = tuple(make_processor(spec) for spec in given.infer)
    made_learn = tuple(make_processor(spec) for spec in given.learn)
    columns = select_columns(made_infer, table_columns)
    for processor in made_learn:
        name = type(processor).__name__
        if isinstance(processor, ColumnFilter):
            raise ConfigError(
                f"data.processors.learn: {name} would train on other columns than are scored; "
                "move it to data.processors.infer"
            )
        if recipe == "raybench" and changes_features(processor):
            raise ConfigError(
                f"data.processors.learn: {name} changes features, so training would see others than "
                "scoring; move it to data.processors.infer, give it fields_group: label, "
                "or set recipe: qlib"
            )
    return Chain(table_columns=table_columns, columns=columns, infer=made_infer, learn=made_learn)


def process(
    chain: Chain,
    table: FeatureColumns,
    label_R: Float32,
    rows: Rows,
    *,
    fitted: FittedProcessors | None = None,
    learn: bool = True,
) -> Stages:
    """Run the chain over a table with the chain's columns, which is used up; fit what ``fitted`` lacks."""
    every = np.arange(table.num_rows)
    stage = Stage(table=table, frame_M=every, kept_K=every, label_K=label_R.copy())
    given = None if fitted is None else fitted.infer
    infer, infer_steps = _run(chain.infer, stage, rows, given)
    infer = infer.compact()
    if not learn:
        learn_steps = () if fitted is None else fitted.learn
        return Stages(infer=infer, learn=None, fitted=_fitted(chain, infer_steps, learn_steps))
    start = replace(infer, label_K=infer.label_K.copy(), owned=False)
    given = None if fitted is None else fitted.learn
    learned, learn_steps = _run(chain.learn, start, rows, given)
    return Stages(infer=infer, learn=learned, fitted=_fitted(chain, infer_steps, learn_steps))


def _fitted(chain: Chain, infer: tuple[FittedStep, ...], learn: tuple[FittedStep, ...]) -> FittedProcessors:
    return FittedProcessors(table_columns=chain.table_columns, infer=infer, learn=learn)


def _run(
    processors: Sequence[Processor], stage: Stage, rows: Rows, given: Sequence[FittedStep] | None
) -> tuple[Stage, tuple[FittedStep, ...]]:
    """Run processors in order, those between two row filters together, column by column."""
    steps: list[FittedStep] = []
    for filters, group in _stretches(processors):
        if filters:
            for processor in group:
                stage = _drop_rows(processor, stage)
            steps += [FittedStep(processor=processor) for processor in group]
        else:
            known = None if given is None else given[len(steps) : len(steps) + len(group)]
            stage, fitted = _transform(group, stage, rows, known)
            steps += fitted
    return stage, tuple(steps)


def _stretches(processors: Sequence[Processor]) -> Iterator[tuple[bool, list[Processor]]]:
    for filters, group in groupby(processors, key=lambda p: isinstance(p, RowFilter)):
        yield filters, list(group)


def _drop_rows(processor: Processor, stage: Stage) -> Stage:
    missing_K = np.zeros(len(stage.kept_K), np.bool_)
    if "label" in processor.groups:
        missing_K |= np.isnan(stage.label_K)
    if "feature" in processor.groups:
        missing_K |= stage.table.any_nan()[stage.kept_K]
    return replace(stage, kept_K=stage.kept_K[~missing_K], label_K=stage.label_K[~missing_K])


def _transform(
    processors: Sequence[Processor], stage: Stage, rows: Rows, known: Sequence[FittedStep] | None
) -> tuple[Stage, list[FittedStep]]:
    """Run processors that keep all rows: over every feature column, then over the label."""
    feature: dict[int, Float32] = {}
    label: dict[int, Params] = {}
    of_feature = [i for i, p in enumerate(processors) if changes_features(p) and not isinstance(p, ColumnFilter)]
    of_label = [i for i, p in enumerate(processors) if "label" in p.groups and not isinstance(p, ColumnFilter)]
    if of_feature:
        stage = stage.compact()
        params = None if known is None else [_feature_params(known[i], stage.table) for i in of_feature]
        fitted = stage.table.process([processors[i] for i in of_feature], rows.take(stage.frame_K), params)
        stage = replace(stage, table=fitted.table)
        feature = dict(zip(of_feature, fitted.params, strict=True))
    if of_label:
        steps = [processors[i] for i in of_label]
        given = None if known is None else [known[i].label or () for i in of_label]
        result = process_column(steps, stage.label_K, rows.take(stage.frame_K), given)
        stage = replace(stage, label_K=result.x_K)
        label = dict(zip(of_label, result.params, strict=True))
    return stage, [
        FittedStep(processor=p, feature_PF=_nonempty(feature.get(i)), label=label.get(i) or None)
        for i, p in enumerate(processors)
    ]


def _feature_params(step: FittedStep, table: FeatureColumns) -> Float32:
    """The parameters a step was fitted with; a step without any has none for each column."""
    if step.feature_PF is None:
        return np.zeros((0, len(table.columns)), np.float32)
    return step.feature_PF


def _nonempty(params_PF: Float32 | None) -> Float32 | None:
    return None if params_PF is None or not len(params_PF) else params_PF
