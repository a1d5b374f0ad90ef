"""TRA: several predictors on one backbone, and a router that gives each sample to one of them (Lin et al. 2021).

Shapes: N samples, W rows of lookback, F features, D outputs of the backbone, K predictors (states), L = W - horizon
dates whose losses are known, H hidden of the router. Parameters are named as in Qlib (model.*, tra.*).

With backbone output h [N, D] and remembered losses m [N, L, K]:

    preds = P h                                   one linear predictor each
    p = softmax((R [LSTM(m); h]) / tau)           which predictor is trusted
    score = preds at the largest p

In training the choice is drawn (Gumbel softmax, hard), and p learns towards the optimal transport plan q of
``models.layers.transport``, which knows the labels and gives each predictor an equal share of the samples:

    loss = (preds at the choice - label)^2 - lamb rho^(step // 100) sum_k q_k log p_k

What is remembered are ``errors``, scaled within a sample; when, and how they reach the network: ``feeds.memory``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from raybench.models.interface.objective import LossBatch
from raybench.models.layers.cells import Mode
from raybench.models.layers.layout import as_windows
from raybench.models.layers.recurrence import make_rnn, run
from raybench.models.layers.tra_backbones import RecurrentBackbone, TransformerBackbone, mean_state
from raybench.models.layers.transport import assignment, min_max

STEPS_PER_DECAY = 100
Routed = tuple[Tensor, Tensor, Tensor]
"""In training: predictions, the choice (one 1 per sample) and log p, each [N, K]."""


class TRA(nn.Module):
    """Score windows [N, W, F] (or Alpha360's flat rows [N, F*W]) with ``hist_loss`` [N, L, K] -> [N].

    ``hist_loss`` may be left out: nothing is known. In training mode the forward pass returns ``Routed``, and
    ``loss`` what is to be minimised.
    """

    qlib_dead_layers = ("model.pe.",)  # positions, which are computed

    def __init__(
        self,
        num_features: int,
        *,
        step_len: int,
        model_type: str,
        backbone: Mapping[str, Any],
        router: Mapping[str, Any],
        horizon: int = 2,
        lamb: float = 1.0,
        rho: float = 0.99,
        alpha: float = 0.5,
        pretrain: bool = True,
        recipe: str = "raybench",
    ) -> None:
        super().__init__()
        self.model: RecurrentBackbone | TransformerBackbone
        if model_type == "Transformer":
            self.model = _transformer(num_features, step_len, backbone, equal_layers=recipe == "qlib")
        else:
            self.model = _recurrent(num_features, backbone)
        self.tra = Router(self.model.output_size, **router)
        self.num_features, self.num_states = num_features, self.tra.num_states
        self.horizon, self.remembered = horizon, step_len - horizon
        self.lamb, self.rho, self.alpha, self.pretrain = lamb, rho, alpha, pretrain

    @property
    def extra_inputs(self) -> Mapping[str, tuple[int | None, ...]]:
        """What it is given beside windows, see ``models.interface.inputs``."""
        return {"hist_loss": (self.remembered, self.num_states)}

    def forward(self, x: Tensor, hist_loss: Tensor | None = None) -> Tensor | Routed:
        h_ND = self.model(as_windows(x, self.num_features))
        if hist_loss is None:
            hist_loss = h_ND.new_zeros(h_ND.shape[0], self.remembered, self.num_states)
        pred_NK, logit_NK = self.tra(h_ND, hist_loss)
        if not self.training:
            score_N: Tensor = pred_NK.gather(1, logit_NK.argmax(dim=1, keepdim=True))[:, 0]
            return score_N
        choice_NK = nn.functional.gumbel_softmax(logit_NK, tau=self.tra.tau, hard=True, dim=1)
        return pred_NK, choice_NK, (logit_NK / self.tra.tau).log_softmax(dim=1)

    def loss(self, outputs: Routed, batch: LossBatch) -> Tensor:
        """Sum over the samples of squared error and routing loss."""
        pred_NK, choice_NK, log_p_NK = outputs
        weight_N = _weights(batch)
        plan_NK = self.plan(pred_NK, batch)
        error_N = ((pred_NK * choice_NK).sum(dim=1) - batch.label_B).square()
        routing_N = -(plan_NK * log_p_NK).sum(dim=1)
        decayed = self.lamb * self.rho ** (batch.step // STEPS_PER_DECAY)
        return (weight_N * (error_N + decayed * routing_N)).sum()

    def plan(self, pred_NK: Tensor, batch: LossBatch) -> Tensor:
        """Assign the samples of a batch, whose labels are known, to predictors [N, K]."""
        return assignment(
            squared_errors(pred_NK.detach(), batch.label_B),
            batch.inputs.named["hist_loss"].mean(dim=1),
            alpha=self.alpha,
            taking_part_N=_weights(batch) > 0,
            group_sum=batch.group_sum,
        )

    @torch.no_grad()
    def errors(self, x: Tensor, label_N: Tensor) -> Tensor:
        """Return what is to be remembered of samples: each predictor's squared error, scaled to 0 .. 1 [N, K]."""
        pred_NK = self.tra.predictors(self.model(as_windows(x, self.num_features)))
        return min_max(squared_errors(pred_NK, label_N))

    def pretraining(self) -> Experts | None:
        """Return what is trained first, on the same backbone and predictors; None if that is not wanted."""
        return Experts(self) if self.pretrain else None


class Router(nn.Module):
    """K predictors, and a router that looks at the backbone's output (LR), at remembered losses (TPE) or at both."""

    def __init__(
        self,
        inputs: int,
        *,
        num_states: int,
        hidden_size: int,
        rnn_arch: Mode,
        num_layers: int,
        dropout: float,
        tau: float,
        src_info: str,
    ) -> None:
        super().__init__()
        self.num_states, self.tau = num_states, tau
        self.predictors = nn.Linear(inputs, num_states)
        self.router = None
        if "TPE" in src_info:
            self.router = make_rnn(rnn_arch, num_states, hidden_size, num_layers, dropout=dropout)
        self.sees_hidden = "LR" in src_info
        width = (hidden_size if self.router is not None else 0) + (inputs if self.sees_hidden else 0)
        self.fc = nn.Linear(width, num_states)

    def forward(self, h_ND: Tensor, hist_loss_NLK: Tensor) -> tuple[Tensor, Tensor]:
        """Return predictions and the router's logits, both [N, K]."""
        seen = [h_ND] if self.sees_hidden else []
        if self.router is not None:
            seen.append(mean_state(run(self.router, hist_loss_NLK)[1]))
        return self.predictors(h_ND), self.fc(torch.cat(seen, dim=1))


class Experts(nn.Module):
    """The first phase: backbone and predictors learn, each from the samples that transport assigns to it.

    Its layers are those of a TRA. The assignment knows the labels, so it is no prediction: the score is the mean of
    the predictors. In training mode the forward pass returns all predictions [N, K].
    """

    epochs: int | None = None  # as many as are allowed to the training itself
    selects_by = "score"

    def __init__(self, network: TRA) -> None:
        super().__init__()
        self.model, self.predictors = network.model, network.tra.predictors
        self.num_states, self.horizon = network.num_states, network.horizon
        self._plan, self._errors, self._num_features = network.plan, network.errors, network.num_features

    def forward(self, x: Tensor, hist_loss: Tensor | None = None) -> Tensor:
        pred_NK: Tensor = self.predictors(self.model(as_windows(x, self._num_features)))
        return pred_NK if self.training else pred_NK.mean(dim=1)

    def errors(self, x: Tensor, label_N: Tensor) -> Tensor:
        """Return what is to be remembered, as the network itself."""
        return self._errors(x, label_N)

    def loss(self, outputs: Tensor, batch: LossBatch) -> Tensor:
        """Sum over the samples of the squared errors, each predictor's by its share in the sample."""
        error_NK = squared_errors(outputs, batch.label_B)
        return (_weights(batch) * (error_NK * self._plan(outputs, batch)).sum(dim=1)).sum()


def squared_errors(pred_NK: Tensor, label_N: Tensor) -> Tensor:
    """Return each predictor's squared error [N, K]."""
    return (pred_NK - label_N[:, None]).square()


def _weights(batch: LossBatch) -> Tensor:
    return torch.ones_like(batch.label_B) if batch.weight_B is None else batch.weight_B


def _recurrent(num_features: int, keys: Mapping[str, Any]) -> RecurrentBackbone:
    names = ("hidden_size", "num_layers", "rnn_arch", "use_attn", "dropout")
    return RecurrentBackbone(num_features, **{name: keys[name] for name in names})


def _transformer(
    num_features: int, step_len: int, keys: Mapping[str, Any], *, equal_layers: bool
) -> TransformerBackbone:
    names = ("hidden_size", "num_layers", "num_heads", "dropout")
    chosen = {name: keys[name] for name in names}
    return TransformerBackbone(num_features, step_len, equal_layers=equal_layers, **chosen)
