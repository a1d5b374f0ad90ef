"""Alpha360 seen through its six raw fields: x[b, w, f] = field f at lag W-1-w over today's close or volume.

raw_P6 holds, per instrument, W-1 rows of NaN and then its bars, so the window of row p is rows p-W+1
to p. Row ids are rows of raw_P6. The order of fields is close, open, high, low, vwap, volume.
NaN: a lag before the first bar or on a suspended day is NaN until a processor fills it.

The processors of the flat table of 6 W columns are applied to what is gathered: fitted parameters are
[W, 6], per-date statistics [T, W, 6] are looked up by the date of the row.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import torch

from raybench.processors.base import Elementwise, PerDate
from raybench.processors.fitted import processor_from_dict, processor_to_dict
from raybench.storage.arrays import Arrays, Mover, Spec, as_array, as_tensor, total_bytes

VOLUME_EPS = 1e-12


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowStep:
    """A processor and its numbers, arranged as windows are: parameters [W, 6] or statistics [T, W, 6]."""

    processor: Elementwise | PerDate
    numbers: tuple[torch.Tensor, ...]

    def apply(self, x_BWF: torch.Tensor, date_B: torch.Tensor | None) -> torch.Tensor:
        """Apply to windows; may change them in place."""
        if date_B is None or not isinstance(self.processor, PerDate):
            return self.processor.apply(x_BWF, *self.numbers)
        return self.processor.apply(x_BWF, *(n.index_select(0, date_B) for n in self.numbers))


@dataclass(frozen=True, slots=True, kw_only=True)
class LagWindows:
    """The source for Alpha360. date_P: date code of each row, needed where a step is per date.

    >>> bars_P6 = torch.tensor([[2.0] * 6, [float("nan")] * 6, [4.0] * 6])
    >>> LagWindows(raw_P6=bars_P6, date_P=None, step_len=3).gather(torch.tensor([2]))[0, :, 0].tolist()
    [0.5, nan, 1.0]
    """

    raw_P6: torch.Tensor
    date_P: torch.Tensor | None
    step_len: int
    steps: tuple[WindowStep, ...] = ()

    @property
    def num_features(self) -> int:
        return self.raw_P6.shape[1]

    @property
    def nbytes(self) -> int:
        return total_bytes(self.arrays())

    def gather(self, row_B: torch.Tensor) -> torch.Tensor:
        """Windows x_BWF of rows of ``raw_P6``, processed."""
        x_BWF = self._fields(row_B)
        today_B6 = x_BWF[:, -1]
        scale_B6 = today_B6[:, :1].repeat(1, self.num_features)
        scale_B6[:, -1] = today_B6[:, -1] + VOLUME_EPS
        x_BWF.div_(scale_B6.unsqueeze(1))
        date_B = None if self.date_P is None else self.date_P.index_select(0, row_B)
        for step in self.steps:
            x_BWF = step.apply(x_BWF, date_B)
        return x_BWF

    def _fields(self, row_B: torch.Tensor) -> torch.Tensor:
        """The raw fields of each window: W consecutive rows, copied as one."""
        width, lead = self.num_features, self.step_len - 1
        windows = self.raw_P6.as_strided((max(0, len(self.raw_P6) - lead), self.step_len * width), (width, 1))
        return windows.index_select(0, row_B - lead).view(-1, self.step_len, width)

    def to(self, device: torch.device | str | Mover) -> Self:
        move = Mover.of(device)
        date_P = None if self.date_P is None else move(self.date_P)
        steps = tuple(replace(s, numbers=tuple(map(move, s.numbers))) for s in self.steps)
        return replace(self, raw_P6=move(self.raw_P6), date_P=date_P, steps=steps)

    def spec(self) -> Spec:
        steps = [{**processor_to_dict(s.processor), "numbers": len(s.numbers)} for s in self.steps]
        return {"kind": "lags", "step_len": self.step_len, "steps": steps}

    def arrays(self) -> Arrays:
        named = {"raw_P6": as_array(self.raw_P6)}
        if self.date_P is not None:
            named["date_P"] = as_array(self.date_P)
        for i, step in enumerate(self.steps):
            named |= {f"step{i}_{j}": as_array(number) for j, number in enumerate(step.numbers)}
        return named

    @classmethod
    def from_arrays(cls, spec: Spec, arrays: Arrays) -> Self:
        """The inverse of `spec` and `arrays`."""
        steps = []
        for i, data in enumerate(spec["steps"]):
            processor = processor_from_dict(data)
            assert isinstance(processor, Elementwise | PerDate), "others do not apply to windows"
            numbers = tuple(as_tensor(arrays[f"step{i}_{j}"]) for j in range(data["numbers"]))
            steps.append(WindowStep(processor=processor, numbers=numbers))
        return cls(
            raw_P6=as_tensor(arrays["raw_P6"]),
            date_P=as_tensor(arrays["date_P"]) if "date_P" in arrays else None,
            step_len=spec["step_len"],
            steps=tuple(steps),
        )


def as_window(flat: npt.NDArray[np.float32], step_len: int) -> torch.Tensor:
    """Numbers of flat columns [..., F * W] (a field's lags, oldest first, then the next) as [..., W, F]."""
    window = flat.reshape(*flat.shape[:-1], -1, step_len)
    return torch.from_numpy(np.ascontiguousarray(np.moveaxis(window, -1, -2)))


def steps_of(parts: Sequence[tuple[Any, Sequence[npt.NDArray[np.float32]]]], step_len: int) -> tuple[WindowStep, ...]:
    """Window steps from processors and their numbers by flat column."""
    return tuple(
        WindowStep(processor=p, numbers=tuple(as_window(n, step_len) for n in numbers)) for p, numbers in parts
    )
