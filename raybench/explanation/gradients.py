"""Input gradients: how the score changes with each number of the window, at the window as it is.

Shapes: N samples, W steps, F features.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn

from raybench.models.interface.inputs import Inputs


def input_gradients(network: nn.Module, inputs: Inputs) -> Tensor | None:
    """Differentiate the sum of the scores by the windows -> [N, W, F]; None if the network cannot be.

    Where samples do not meet inside the network, that is each score by its own window. In a network that
    compares instruments, it is what a window does to all scores together.
    """
    x_NWF = inputs.x_BWF.detach().clone().requires_grad_()
    with torch.enable_grad():
        score_N = replace(inputs, x_BWF=x_NWF).call(network)
        if not score_N.requires_grad:
            return None
        (gradient_NWF,) = torch.autograd.grad(score_N.sum(), x_NWF, allow_unused=True)
    return None if gradient_NWF is None else gradient_NWF.detach()
