"""What a configuration knows of any network: its keys, its size, what it is given. No torch.

A network is one class in a module of this package (its keys are Qlib's constructor argument names without
the feature count, with Qlib's defaults), an entry in ``NETWORKS``, and one module in ``raybench.models``.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from raybench.config.strict import Part

Batches = Literal["windows", "dates"]


class ModelConfig(Part):
    """A network by name, with its own keys.

    ``batches``: it is trained on random windows, or on whole dates (each with every instrument of that date).
    ``needs``: what it is given, in words for ``raybench models``.
    """

    batches: ClassVar[Batches] = "windows"
    needs: ClassVar[str] = "windows; batches of random rows"

    type: str

    @property
    def kwargs(self) -> dict[str, Any]:
        """The network's own arguments, without ``type``."""
        return self.model_dump(exclude={"type"})

    def parameter_count(self, num_features: int, step_len: int) -> int | None:
        """Count trainable parameters for windows of ``step_len`` x ``num_features``; None if not known here."""
        return None

    def floats_per_sample(self, num_features: int, step_len: int) -> int | None:
        """Estimate the floats a sample keeps from forward to backward pass, its window excluded."""
        return None

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
