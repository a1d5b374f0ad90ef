"""Mixed precision: matrix products in bfloat16, the rest in float32."""

from __future__ import annotations

from typing import Any

import torch


class MixedPrecision(torch.autocast):
    """Autocast to bfloat16 on any device.

    oneDNN has an LSTM in bfloat16 for processors with AVX-512 only, and torch asks for it on all: on the others
    oneDNN stays out, and an LSTM is computed by torch's own kernels.
    """

    def __init__(self, device_type: str) -> None:
        super().__init__(device_type, dtype=torch.bfloat16)
        self._without_onednn = device_type == "cpu" and not _has_bfloat16()
        self._before: list[bool] = []

    def __enter__(self) -> Any:
        """Enter, in as many layers as one likes."""
        if self._without_onednn:  # not through torch.backends.mkldnn.flags, which warns of a GPU that is not there
            self._before.append(torch._C._get_mkldnn_enabled())
            torch._C._set_mkldnn_enabled(False)
        return super().__enter__()  # type: ignore[no-untyped-call]

    def __exit__(self, *failure: Any) -> Any:
        """Leave the innermost."""
        if self._before:
            torch._C._set_mkldnn_enabled(self._before.pop())
        return super().__exit__(*failure)


def _has_bfloat16() -> bool:
    try:
        return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    except (AttributeError, RuntimeError):  # built without oneDNN
        return True
