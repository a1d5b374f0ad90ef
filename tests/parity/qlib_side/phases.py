"""Runs where pyqlib is installed: TRA and TabNet, in evaluation and in each phase of their training.

    python phases.py OUT

OUT/NAME.npz gets input.*, label and state.*, and of each phase PHASE.output (a score in evaluation, else the mean
loss of the batch), PHASE.grad.* and PHASE.buffer.* (running statistics afterwards). Training starts from state.*;
that of TabNet is in double precision.
"""

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from qlib.contrib.model import pytorch_tabnet, pytorch_tra
from torch import Tensor, nn

Stored = dict[str, Tensor]
SAMPLES, VIRTUAL = 48, 16
STATES, ALPHA, LAMB, RHO, STEP = 3, 0.5, 1.0, 0.99, 250
SEED = 7


def taken(phase: str, network: nn.Module, output: Tensor, loss: Tensor) -> Stored:
    """Take a network one step back from a loss, without moving it."""
    network.zero_grad()
    loss.backward()
    grads = {name: value.grad.clone() for name, value in network.named_parameters() if value.grad is not None}
    return {f"{phase}.output": output.detach(), **{f"{phase}.grad.{name}": value for name, value in grads.items()}}


def state_of(network: nn.Module) -> Stored:
    return {f"state.{name}": value.clone() for name, value in network.state_dict().items()}


def buffers(phase: str, network: nn.Module) -> Stored:
    return {f"{phase}.buffer.{name}": value.clone() for name, value in network.named_buffers()}


class Both(nn.Module):
    """Backbone and adaptor under one roof, as attributes of TRAModel are called."""

    def __init__(self, model: nn.Module, **kwargs: object) -> None:
        super().__init__()
        self.model, self.tra = model, pytorch_tra.TRA(model.output_size, **kwargs)

    def forward(self, x: Tensor, hist_loss: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return self.tra(self.model(x), hist_loss)


def tra(backbone: nn.Module, features: int, step_len: int, **kwargs: object) -> Stored:
    network = Both(backbone, num_states=STATES, **kwargs)
    x, label = torch.randn(SAMPLES, step_len, features), torch.randn(SAMPLES)
    hist_loss = torch.rand(SAMPLES, step_len - 2, STATES)
    hist_loss[:5] = 0.0
    stored = {"input.x": x, "input.hist_loss": hist_loss, "label": label, **state_of(network)}

    network.eval()
    preds, choice, prob = network(x, hist_loss)
    score = preds[range(SAMPLES), prob.argmax(dim=-1)]
    stored |= taken("evaluation", network, score, nn.functional.mse_loss(score, label))

    network.train()
    for phase, method in (("pretraining", "oracle"), ("training", "router")):
        torch.manual_seed(SEED)
        preds, choice, prob = network(x, hist_loss)
        arguments = (preds, label, choice, prob, hist_loss.mean(dim=1), [], method, ALPHA)
        loss, _, remembered, plan = pytorch_tra.transport_sample(*arguments, training=True)
        if phase == "training":
            loss = loss - LAMB * RHO ** (STEP // 100) * prob.log().mul(plan).sum(dim=1).mean()
        stored |= taken(phase, network, loss, loss) | {"remembered": remembered}
    return stored


def tabnet(width: int) -> Stored:
    encoder = pytorch_tabnet.TabNet(inp_dim=width, out_dim=64, vbs=VIRTUAL, relax=1.3)
    decoder = pytorch_tabnet.TabNet_Decoder(64, width, 2, 2, VIRTUAL, 5)
    network = pytorch_tabnet.FinetuneModel(64, 1, encoder)
    priors = torch.ones(SAMPLES, width)
    with torch.no_grad():
        for _ in range(5):
            network(2.0 * torch.randn(SAMPLES, width) + 0.5, priors)
    x, label = torch.randn(SAMPLES, width), torch.randn(SAMPLES)
    hidden = torch.bernoulli(torch.full((SAMPLES, width), 0.3))
    start = {name: value.clone() for name, value in network.state_dict().items()}
    stored = {"input.x": x, "label": label, "hidden": hidden, **state_of(network)}
    stored |= {f"decoder.{name}": value.clone() for name, value in decoder.state_dict().items()}

    score = network.eval()(x, priors)
    stored |= taken("evaluation", network, score, nn.functional.mse_loss(score, label))

    # Normalised over a few samples each, gradients keep few digits of single precision.
    torch.set_default_dtype(torch.float64)  # Qlib's networks make tensors of their own
    network.double(), decoder.double()
    x, label, hidden, priors = (value.double() for value in (x, label, hidden, priors))
    score = network.train()(x, priors)
    stored |= taken("training", network, score, nn.functional.mse_loss(score, label)) | buffers("training", network)

    network.load_state_dict(start)
    phases = nn.ModuleDict({"encoder": encoder, "decoder": decoder}).train()
    back = decoder(encoder(x * (1 - hidden), 1 - hidden)[0])
    loss = pytorch_tabnet.TabnetModel.pretrain_loss_fn(None, x * hidden, back, hidden)
    return stored | taken("pretraining", phases, loss, loss) | buffers("pretraining", phases)


NETWORKS: dict[str, Callable[[], Stored]] = {
    "tra_alpha360": lambda: tra(
        pytorch_tra.RNN(6, 64, 2, "LSTM", True), 6, 60, hidden_size=32, rnn_arch="LSTM", src_info="LR_TPE"
    ),
    "tra_wide": lambda: tra(
        pytorch_tra.RNN(158, 32, 2, "GRU", False), 158, 10, hidden_size=8, rnn_arch="GRU", num_layers=2, src_info="TPE"
    ),
    "tra_transformer": lambda: tra(
        pytorch_tra.Transformer(20, 64, 2, 2), 20, 20, hidden_size=32, rnn_arch="LSTM", tau=0.7, src_info="LR_TPE"
    ),
    "tabnet_alpha158": lambda: tabnet(158),
    "tabnet_alpha360": lambda: tabnet(360),
}


def main() -> None:
    for name, make in NETWORKS.items():
        torch.set_default_dtype(torch.float32)
        torch.manual_seed(0)
        np.savez(Path(sys.argv[1]) / f"{name}.npz", **{key: value.numpy() for key, value in make().items()})


if __name__ == "__main__":
    main()
