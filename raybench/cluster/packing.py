"""What each fit of a bench takes, and how many of them a cluster holds side by side.

On CPUs a fit is a process of one thread: networks of this size gain little from a second one, and a second fit much.
On GPUs several fits share a card, as many as their memory has room for.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from raybench.cluster.resources import Capacity, Workers, cores, refuse_too_much, share_of_gpu, suited
from raybench.config import Config
from raybench.errors import ConfigError


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """What a fit takes: the threads of one process, and a share of a GPU, 0 without."""

    cpus: int = 1
    gpu: float = 0.0

    @property
    def workers(self) -> Workers:
        """The same as a run records it."""
        return Workers(number=1, cpus=self.cpus, gpu=self.gpu > 0)


def share_of(config: Config, there: Capacity, *, panel_bytes: int) -> Share:
    """The share of one fit of ``config``; ResourceError for more than any node has."""
    wanted = suited(config)
    cpus = wanted.cpus_per_worker or 1
    gpu = share_of_gpu(config, wanted, there, panel_bytes)
    refuse_too_much(cpus, gpu, there, key="cluster.cpus_per_worker")
    return Share(cpus=cpus, gpu=gpu)


def refuse_streaming(configs: Iterable[Config]) -> None:
    """Refuse configurations whose rows are streamed: fits share resident ones."""
    if any(config.data.residency == "streaming" for config in configs):
        raise ConfigError(
            "data.residency is streaming, and fits of a bench share rows in memory; set data.residency to resident"
        )


class Room:
    """What is free of a cluster while fits run."""

    def __init__(self, there: Capacity) -> None:
        self._cpus, self._gpus, self._begun = float(cores(there)), there.gpus, 0

    def has(self, share: Share) -> bool:
        """Whether one more fit may begin; the first always may, what it takes having been checked."""
        return not self._begun or (share.cpus <= self._cpus + 1e-9 and share.gpu <= self._gpus + 1e-9)

    def take(self, share: Share) -> None:
        """A fit begins."""
        self._move(share, 1)

    def give_back(self, share: Share) -> None:
        """A fit ended."""
        self._move(share, -1)

    def _move(self, share: Share, sign: int) -> None:
        self._cpus -= sign * share.cpus
        self._gpus -= sign * share.gpu
        self._begun += sign
