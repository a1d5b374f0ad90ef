"""What ``recipe: qlib`` does differently, in words."""

from __future__ import annotations

from raybench.config.schema import Config


def quirks(config: Config) -> tuple[str, ...]:
    """Name Qlib's quirks that are in force; none under ``recipe: raybench``."""
    if config.recipe != "qlib":
        return ()
    size = config.train.batch_size
    order = "the latest dates" if config.data.feature_set.type == "alpha360" else "the last instruments by name"
    batches: tuple[str, ...] = (
        f"the last batch is dropped when it has fewer than {size} samples, in training and in validation "
        f"(there it holds {order})",
        "validation loss is the unweighted mean of its batch means",
    )
    if config.model.batches == "dates":
        batches = ("validation loss is the unweighted mean of the means of its dates", *_cuts(config))
    if config.model.fitting == "direct":
        batches = ()
    return (
        *batches,
        "train and valid windows come from the learn frame, where a row without a label is missing: "
        "a window can tell that a later price is missing",
        *config.model.quirks(config.data.feature_set.type),
    )


def _cuts(config: Config) -> tuple[str, ...]:
    if config.data.feature_set.type == "alpha360":
        return ()
    return (
        "training and validation batches are cut out of samples in the order of their instruments, where dates would "
        "end: most hold one instrument on many dates; their order is the same in every epoch",
    )
