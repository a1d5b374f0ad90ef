"""What a configuration knows of any network: its keys, its size, what it is given. No torch.

A network is one class in a module of this package (its keys are Qlib's constructor argument names without
the feature count, with Qlib's defaults), an entry in ``NETWORKS``, and one module in ``raybench.models``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, Literal

from raybench.config.common.strict import ConfigPart
from raybench.config.data.spec import DataConfig

Batches = Literal["windows", "dates"]
Fitting = Literal["gradient", "direct"]
Misfit = tuple[tuple[str | int, ...], str, object]  # key, what is wrong, what was given


class ModelConfig(ConfigPart):
    """A network by name, with its own keys.

    ``batches``: it is trained on random windows, or on whole dates (each with every instrument of that date).
    ``fitting``: in epochs of gradient steps, or at once (``raybench.models.interface.direct``). ``one_process``: it
    cannot be fitted by several workers. ``traceable``: torch can export it, and so ONNX. ``needs``: what it is given,
    in words for ``raybench models``. ``takes_second``: it can be given a second window (data.second). ``remembers``: it
    is given its own past losses (``raybench.feeds.memory``). ``whole_batches``: its loss is of a batch as a whole.
    ``recurrent``: it has layers of GRU or LSTM.
    """

    batches: ClassVar[Batches] = "windows"
    fitting: ClassVar[Fitting] = "gradient"
    one_process: ClassVar[bool] = False
    traceable: ClassVar[bool] = True
    takes_second: ClassVar[bool] = False
    remembers: ClassVar[bool] = False
    whole_batches: ClassVar[bool] = False
    recurrent: ClassVar[bool] = False
    needs: ClassVar[str] = "windows; batches of random rows"

    type: str

    @property
    def kwargs(self) -> dict[str, Any]:
        """The network's own arguments, without ``type``."""
        return self.model_dump(exclude={"type"})

    def under(self, recipe: str) -> ModelConfig:
        """Return what a recipe makes of the keys: under qlib some have no effect."""
        return self

    def parameter_count(self, num_features: int, step_len: int) -> int | None:
        """Count trainable parameters for windows of ``step_len`` x ``num_features``; None if not known here."""
        return None

    def second_parameters(self, num_features: int) -> int:
        """Count the parameters that a second window of ``num_features`` adds, for networks that can be given one."""
        return 0

    def misfits(self, data: DataConfig, num_workers: int | None, recipe: str) -> Iterator[Misfit]:
        """Name the keys of other parts of a configuration that this network cannot work with."""
        if self.one_process and (num_workers or 1) > 1:
            text = f"{self.type} is fitted by one process; want 1 or null, got {num_workers}"
            yield ("cluster", "num_workers"), text, num_workers
        if data.second is not None and not self.takes_second:
            text = f"{self.type} takes one window; want null, or model.type gru or lstm"
            yield ("data", "second"), text, None

    def quirks(self, feature_set: str) -> tuple[str, ...]:
        """Name what ``recipe: qlib`` makes this network do differently, a line each.

        ``feature_set``: alpha158, alpha360 or table.
        """
        return ()


def linear(inputs: int, outputs: int) -> int:
    """Parameters of a linear layer with bias."""
    return outputs * (inputs + 1)


def recurrent(gates: int, inputs: int, hidden: int, layers: int) -> int:
    """Parameters of stacked recurrent layers with torch's two biases: 3 ``gates`` in a GRU, 4 in an LSTM."""
    widths = [inputs] + [hidden] * (layers - 1)
    return sum(gates * hidden * (width + hidden + 2) for width in widths)


def widest(keys: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the key with the largest whole number, however deep it lies: what makes a network too large."""
    return max(_numbers(keys), default=(0, ()))[1]


def _numbers(value: Any) -> Iterator[tuple[int, tuple[str, ...]]]:
    """Give every whole number with the keys that lead to it."""
    if isinstance(value, int):
        yield value, ()
    elif isinstance(value, (list, tuple)):
        yield from (found for item in value for found in _numbers(item))
    elif isinstance(value, Mapping):
        yield from ((number, (name, *path)) for name, inner in value.items() for number, path in _numbers(inner))
