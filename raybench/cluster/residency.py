"""Where the rows of a training lie while it runs, and how its workers get at them.

*Resident*: compact arrays, once per node in the object store, read by every worker without a copy.
*Streamed*: blocks of whole instruments in Ray Data, which spills what does not fit and hands the blocks to the
workers, in another order each epoch. Both give the same samples per epoch.
"""

from __future__ import annotations

import pickle
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import ray
import ray.data
import ray.train
import torch
from ray.train import DataConfig
from torch import nn

from raybench.config import Config
from raybench.errors import UserError
from raybench.feeds.feeds import TRAIN, VALID, Feeds, resident_feeds
from raybench.feeds.streaming import StreamingEvaluation, StreamingFeed
from raybench.feeds.world import World
from raybench.models import num_features
from raybench.panel import Panel, Segment, pack, unpack

if TYPE_CHECKING:
    from raybench.panel.streaming import StreamPlan, StreamView

PREFETCH_BLOCKS = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class ResidentRows:
    """A packed panel by reference."""

    spec: dict[str, Any]
    arrays: Mapping[str, ray.ObjectRef[Any]]

    @classmethod
    def of(cls, panel: Panel) -> ResidentRows:
        """Put the arrays of a panel into the object store."""
        spec, arrays = pack(panel)
        return cls(spec=spec, arrays={name: ray.put(value) for name, value in arrays.items()})

    def panel(self) -> Panel:
        """The panel, in a worker: over the object store's memory, without a copy."""
        return unpack(self.spec, {name: ray.get(reference) for name, reference in self.arrays.items()})

    def feeds(
        self, config: Config, world: World, device: torch.device, *, dates: bool, network: nn.Module | None = None
    ) -> Feeds:
        """Make the loop's feeds in a worker, see :func:`resident_feeds`."""
        return resident_feeds(config, self.panel(), world, device, dates=dates, network=network)


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamedRows:
    """What a worker needs to read blocks; the blocks come through Ray Train's dataset shards.

    ``windows``: samples of the train segment.
    """

    view: StreamView
    windows: int

    def feeds(
        self, config: Config, world: World, device: torch.device, *, dates: bool, network: nn.Module | None = None
    ) -> Feeds:
        """Make the loop's feeds in a Ray Train worker; blocks of instruments have no whole dates, and no memory."""
        assert not dates and not config.model.remembers, "refused before the workers were started"  # noqa: PT018
        options, data = config.train, config.data
        qlib, table_rows = config.recipe == "qlib", data.feature_set.type != "alpha360"
        size = options.eval_batch_size or options.batch_size
        features = {"type": data.feature_set.type, "columns": list(self.view.fitted.columns)}

        def evaluation(shard: str, segment: str) -> StreamingEvaluation:
            return StreamingEvaluation(
                lambda: self._blocks(shard, segment),
                batch_size=size,
                device=device,
                by_date=not (qlib and table_rows),
            )

        return Feeds(
            train=StreamingFeed(
                lambda: self._blocks(TRAIN, TRAIN),
                batch_size=options.batch_size,
                seed=options.seed,
                world=world,
                device=device,
                shape=(data.step_len, num_features(features)),
                drop_last=qlib,
            ),
            valid=evaluation(VALID, VALID),
            train_again=evaluation(TRAIN, TRAIN) if options.extra_train_pass else None,
            windows=self.windows,
        )

    def _blocks(self, shard: str, segment: str) -> Iterator[Segment]:
        """Give one pass over the blocks that fall to this worker."""
        stream = ray.train.get_dataset_shard(shard)
        for row in stream.iter_batches(batch_size=1, prefetch_batches=PREFETCH_BLOCKS):
            yield self.view.segments(pickle.loads(row["block"][0]), [segment])[segment]


def block_datasets(plan: StreamPlan) -> dict[str, ray.data.Dataset]:
    """Read and process every block once, as Ray Data tasks; return the datasets that the workers share.

    One row holds one block, packed, because Ray Data may cut anything between two rows. A user error comes out as
    itself: the task hands it on as a value, for what it raised would come back logged and without its cause. Such a
    task gives two rows, so that counting them, which opens no block, says whether there is one.
    """
    shared = ray.put(plan)

    def read(row: dict[str, Any]) -> list[dict[str, bytes]]:
        held: StreamPlan = ray.get(shared)
        try:
            return [{"block": pickle.dumps(held.read(held.groups[row["item"]]), protocol=5), "error": b""}]
        except UserError as error:
            return [{"block": b"", "error": pickle.dumps(error)}] * 2

    items = ray.data.from_items(list(range(len(plan.groups))), override_num_blocks=len(plan.groups))
    blocks = items.flat_map(read, num_cpus=1).materialize()
    if blocks.count() != len(plan.groups):
        raise _first_error(blocks)
    return {TRAIN: blocks.randomize_block_order(), VALID: blocks}


def _first_error(blocks: ray.data.Dataset) -> UserError:
    errors = (row["error"] for row in blocks.select_columns(["error"]).iter_rows())
    found: UserError = pickle.loads(next(filter(None, errors)))
    return found


class WholeBlocks(DataConfig):
    """Shares all blocks out, to some workers one more than to others; Ray Train's default drops the odd ones."""

    def configure(
        self,
        datasets: dict[str, ray.data.Dataset],
        world_size: int,
        worker_handles: list[Any] | None,
        worker_node_ids: list[str] | None,
        **kwargs: Any,
    ) -> list[dict[str, ray.data.DataIterator]]:
        """Return the shard of each dataset for each rank."""
        splits = {
            name: dataset.streaming_split(world_size, equal=False, locality_hints=worker_node_ids)
            for name, dataset in datasets.items()
        }
        return [{name: split[rank] for name, split in splits.items()} for rank in range(world_size)]


def choose_residency(wanted: str, *, panel_bytes: int, store_bytes: float) -> str:
    """Return resident or streaming: ``auto`` streams what would fill more than half of a node's object store."""
    if wanted != "auto":
        return wanted
    return "resident" if panel_bytes <= store_bytes / 2 else "streaming"
