"""Convolutional networks: tcn, krnn, sandwich."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, Field

from raybench.config.common.strict import Layers, Share, Units, problem
from raybench.config.data.spec import DataConfig
from raybench.config.networks.network import Misfit, ModelConfig, linear, recurrent

FLATTENED = (
    "the window is read as a flat row of one feature after the other, cut into steps without turning it back: "
    "a step holds neighbouring lags of one feature, not the features of a date"
)


def _odd(value: int) -> int:
    if value % 2 == 0:
        raise problem(f"want an odd number, so that the window keeps its length, got {value}")
    return value


OddCount = Annotated[Units, AfterValidator(_odd)]


class TCN(ModelConfig):
    """Temporal convolutional network (Bai, Kolter and Koltun 2018): causal, dilated, residual."""

    type: Literal["tcn"] = "tcn"
    n_chans: Units = 128
    kernel_size: Units = 5
    num_layers: Annotated[int, Field(ge=1, le=16)] = 5  # each sees twice as far back as the one before
    dropout: Share = 0.5

    def parameter_count(self, num_features: int, step_len: int) -> int:
        width, total = num_features, 0
        for _ in range(self.num_layers):
            total += sum(self._convolution(inputs) for inputs in (width, self.n_chans))
            total += linear(width, self.n_chans) if width != self.n_chans else 0
            width = self.n_chans
        return total + linear(self.n_chans, 1)

    def _convolution(self, inputs: int) -> int:
        # direction, length and bias of each channel
        return self.n_chans * (inputs * self.kernel_size + 2)

    def misfits(self, data: DataConfig, num_workers: int | None, recipe: str) -> Iterator[Misfit]:
        yield from super().misfits(data, num_workers, recipe)
        features = data.num_features
        wrong = recipe == "qlib" and data.feature_set.type != "alpha360" and features != data.step_len
        if wrong and features is not None:
            text = f"tcn of recipe qlib scores rows as channels and needs as many as features ({features})"
            yield ("data", "step_len"), f"{text}, got {data.step_len}; or set recipe to raybench", data.step_len

    def quirks(self, feature_set: str) -> tuple[str, ...]:
        if feature_set == "alpha360":
            return ()
        return (
            "scores take the rows of a window for channels and convolve over its features, although the network is "
            "trained and validated the right way round",
        )


class KRNN(ModelConfig):
    """Convolution, then the mean of several GRUs."""

    recurrent: ClassVar[bool] = True

    type: Literal["krnn"] = "krnn"
    cnn_dim: Units = 64
    cnn_kernel_size: OddCount = 3
    rnn_dim: Units = 64
    rnn_dups: Layers = 3
    rnn_layers: Layers = 2
    dropout: Share = 0.0

    def parameter_count(self, num_features: int, step_len: int) -> int:
        convolution = _convolution(num_features, self.cnn_dim, self.cnn_kernel_size)
        copies = self.rnn_dups * recurrent(3, self.cnn_dim, self.rnn_dim, self.rnn_layers)
        return convolution + copies + linear(self.rnn_dim, 1)

    def quirks(self, feature_set: str) -> tuple[str, ...]:
        return (FLATTENED,)


class Sandwich(ModelConfig):
    """Two encoders of KRNN's kind, one on the other."""

    recurrent: ClassVar[bool] = True

    type: Literal["sandwich"] = "sandwich"
    cnn_dim_1: Units = 64
    cnn_dim_2: Units = 32
    cnn_kernel_size: OddCount = 3
    rnn_dim_1: Units = 16
    rnn_dim_2: Units = 8
    rnn_dups: Layers = 3
    rnn_layers: Layers = 2
    dropout: Share = 0.0

    def parameter_count(self, num_features: int, step_len: int) -> int:
        total, inputs = linear(self.rnn_dim_2, 1), num_features
        for cnn_dim, rnn_dim in ((self.cnn_dim_1, self.rnn_dim_1), (self.cnn_dim_2, self.rnn_dim_2)):
            total += _convolution(inputs, cnn_dim, self.cnn_kernel_size)
            total += self.rnn_dups * recurrent(3, cnn_dim, rnn_dim, self.rnn_layers)
            inputs = rnn_dim
        return total

    def quirks(self, feature_set: str) -> tuple[str, ...]:
        return (FLATTENED,)


def _convolution(inputs: int, channels: int, kernel_size: int) -> int:
    return channels * (inputs * kernel_size + 1)
