"""One forward pass, watched: hidden states and attention weights by hooks, gates from what the layers were given.

Hidden states are the outputs of recurrent layers (every layer of a stack, which its gates give), of encoder
layers (whatever holds a ``torch.nn.MultiheadAttention``) and of modules whose attribute ``explains`` is
"hidden"; where a network has none of these, the last output of a module with weights that still has an entry for
every step ([N, W, H], or [N, H, W] where the weights are those of convolutions). Attention is what every
``torch.nn.Softmax``, every ``torch.nn.MultiheadAttention`` and every module whose attribute ``explains`` is
"attention" returns.

Shapes: N samples, W steps (oldest first), H hidden units.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from raybench.explanation.gates import LayerGates, gates_of, has_gates
from raybench.models.interface.inputs import Inputs

INSTRUMENT, OTHER, FROM_STEP, STEP, PLACE = "instrument", "other", "from_step", "step", "place"


@dataclass(frozen=True, slots=True, kw_only=True)
class Attention:
    """Weights with one dimension for each of ``axes``.

    instrument: whose score it is. other: the instrument attended to. step: the step attended to. from_step: the
    step that attends. place: whatever else there is (heads, concepts).
    """

    axes: tuple[str, ...]
    weight: Tensor

    def mean_over(self, keep: tuple[str, ...]) -> Tensor:
        """Average over every axis that is not kept; the kept ones stay in their order."""
        drop = [i for i, axis in enumerate(self.axes) if axis not in keep]
        return self.weight.mean(dim=drop) if drop else self.weight


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """What was seen, by the names of modules in the network.

    hidden: [N, W, H]. gates: of each recurrent layer, named ``module.l0`` and so on.
    """

    hidden: Mapping[str, Tensor]
    gates: Mapping[str, LayerGates]
    attention: Mapping[str, Attention]


@torch.no_grad()
def trace(network: nn.Module, inputs: Inputs, *, across: bool) -> Trace:
    """Call ``network`` once and keep what it computed on its way; ``across``: it compares the N instruments."""
    watch = _Watch(samples=len(inputs), steps=inputs.x_BWF.shape[1], across=across)
    with ExitStack() as hooks:
        for name, module in network.named_modules():
            if name:
                watch.follow(name, module, hooks)
        inputs.call(network)
    return watch.seen()


@dataclass(slots=True, kw_only=True)
class _Watch:
    samples: int
    steps: int
    across: bool
    hidden: dict[str, Tensor] = field(default_factory=dict)
    gates: dict[str, LayerGates] = field(default_factory=dict)
    attention: dict[str, Attention] = field(default_factory=dict)
    last: dict[str, Tensor] = field(default_factory=dict)

    def follow(self, name: str, module: nn.Module, hooks: ExitStack) -> None:
        """Hang the hooks of a module; they go when ``hooks`` is closed."""
        explains = getattr(module, "explains", None)
        if isinstance(module, nn.MultiheadAttention):
            hooks.enter_context(module.register_forward_pre_hook(_ask_for_weights, with_kwargs=True))
        if isinstance(module, nn.Softmax | nn.MultiheadAttention) or explains == "attention":
            hooks.enter_context(module.register_forward_hook(lambda _, __, out: self._attended(name, out)))
        elif isinstance(module, nn.RNNBase):
            hooks.enter_context(module.register_forward_hook(lambda m, given, out: self._recurred(name, m, given, out)))
        else:
            chosen = explains == "hidden" or any(isinstance(part, nn.MultiheadAttention) for part in module.children())
            seen = self._encoded if chosen else self._passed
            hooks.enter_context(module.register_forward_hook(lambda m, _, out: seen(name, m, out)))

    def seen(self) -> Trace:
        return Trace(hidden=self.hidden or self.last, gates=self.gates, attention=self.attention)

    def _attended(self, name: str, output: Any) -> None:
        weight = output[1] if isinstance(output, tuple) and len(output) > 1 else output
        if not isinstance(weight, Tensor):
            return
        # dimensions of one entry say nothing, unless they stand for the only sample
        sizes = [size for i, size in enumerate(weight.shape) if size != 1 or (i == 0 and self.samples == 1)]
        axes = _axes(sizes, samples=self.samples, steps=self.steps, across=self.across)
        if axes is not None:
            self.attention[_free(name, self.attention)] = Attention(axes=axes, weight=weight.detach().reshape(sizes))

    def _recurred(self, name: str, rnn: nn.RNNBase, given: tuple[Any, ...], output: Any) -> None:
        value = self._oriented(output[0], time_first=not rnn.batch_first)
        if value is None:
            return
        if len(given) > 1 or not has_gates(rnn):  # begun from another state, or a cell of another kind
            self.hidden[_free(name, self.hidden)] = value
            return
        x_NWF = given[0] if rnn.batch_first else given[0].transpose(0, 1)
        for layer in gates_of(rnn, x_NWF):
            place = _free(f"{name}.{layer.name}", self.gates)
            self.gates[place] = layer
            self.hidden[place] = layer.hidden_NWH

    def _encoded(self, name: str, module: nn.Module, output: Any) -> None:
        parts = [part for part in module.children() if isinstance(part, nn.MultiheadAttention)]
        value = self._oriented(output, time_first=bool(parts) and not parts[0].batch_first)
        if value is not None:
            self.hidden[_free(name, self.hidden)] = value

    def _passed(self, name: str, module: nn.Module, output: Any) -> None:
        weights = [weight.dim() for weight in module.parameters()]
        value = self._oriented(output, channels_first=3 in weights)
        if value is not None and weights:
            self.last = {name: value}

    def _oriented(self, output: Any, *, time_first: bool = False, channels_first: bool = False) -> Tensor | None:
        """Turn an output to [N, W, H]; None if it has not an entry for every sample and step."""
        if not isinstance(output, Tensor) or output.dim() != 3:
            return None
        value: Tensor = output.detach()
        samples, steps = self.samples, self.steps
        if time_first:
            return value.transpose(0, 1) if value.shape[:2] == (steps, samples) else None
        if channels_first:
            return value.transpose(1, 2) if value.shape[::2] == (samples, steps) else None
        return value if value.shape[:2] == (samples, steps) else None


def _ask_for_weights(
    module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    return args, kwargs | {"need_weights": True, "average_attn_weights": False}


def _axes(sizes: list[int], *, samples: int, steps: int, across: bool) -> tuple[str, ...] | None:
    """Tell from its size what each dimension stands for; None if that cannot be told."""
    axes: list[str] = []
    for size in sizes:
        if size == samples and INSTRUMENT not in axes:
            axes.append(INSTRUMENT)
        elif size == samples and across and OTHER not in axes:
            axes.append(OTHER)
        elif size == steps and STEP not in axes:
            axes.append(STEP)
        elif size == steps and FROM_STEP not in axes:
            axes[axes.index(STEP)] = FROM_STEP  # the last one is what is attended to
            axes.append(STEP)
        elif PLACE not in axes:
            axes.append(PLACE)
        else:
            return None
    return tuple(axes) if INSTRUMENT in axes and len(axes) > 1 else None


def _free(name: str, taken: Mapping[str, Any]) -> str:
    """The name, with a number where a module is called again."""
    again = sum(other == name or other.startswith(f"{name}#") for other in taken)
    return f"{name}#{again + 1}" if again else name
