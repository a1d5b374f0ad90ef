"""Where fused layers take the place of torch's own: inside ``fused_layers``, and for what they can do.

Elsewhere than in ``layer`` nothing of theirs is loaded: numba takes its time and memory.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad

_wanted = ContextVar("fused_layers", default=False)


@contextmanager
def fused_layers(wanted: bool = True) -> Iterator[None]:
    """For the time of the block, in this thread, run recurrent layers fused, or as torch does."""
    before = _wanted.set(wanted)
    try:
        yield
    finally:
        _wanted.reset(before)


def applies(*given: Tensor) -> bool:
    """Say whether a layer of these inputs, states and weights is to be run fused.

    Not on a GPU, not in mixed precision, not while a graph is recorded (torch.compile, tracing, ONNX) and not under
    torch.func, forward-mode derivatives or dispatch modes: what these see of a layer is torch's.
    """
    return (
        _wanted.get()
        and not _watched()
        and len({value.dtype for value in given}) == 1
        and given[0].dtype in (torch.float32, torch.float64)
        and all(type(value) in (Tensor, nn.Parameter) and value.device.type == "cpu" for value in given)
        and given[0].numel() > 0
    )


def plain(rnn: nn.RNNBase) -> bool:
    """Say whether a network is torch's own GRU or LSTM, without projections and with biases, that nobody watches."""
    return (
        type(rnn) in (nn.GRU, nn.LSTM)
        and rnn.bias
        and not rnn.proj_size
        and not (rnn._forward_hooks or rnn._forward_pre_hooks or rnn._backward_hooks or rnn._backward_pre_hooks)
    )


def _watched() -> bool:
    """Whether somebody looks at the single operations, not at what they come to."""
    internals: Any = torch._C
    jit: Any = torch.jit
    return (
        torch.is_autocast_enabled("cpu")
        or torch.compiler.is_compiling()
        or jit.is_tracing()
        or internals._are_functorch_transforms_active()
        or internals._len_torch_dispatch_stack() > 0
        or internals._len_torch_function_stack() > 0
        or getattr(forward_ad, "_current_level", -1) >= 0
    )
