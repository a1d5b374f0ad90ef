"""Runs where pyqlib is installed: Qlib's own training and validation steps on given samples, in the given order.

    python training.py KIND IN.npz STATE.pt OUT.npz

KIND is gru, lstm (flat rows [S, F*W]), gru_ts or lstm_ts (windows [S, W, F]). IN holds x, label, valid_x,
valid_label, batch_size, epochs, lr. OUT gets output, the gradient of the first batch (grad.*), the
validation loss of each epoch and the weights after the last (state.*).
"""

import importlib
import sys

import numpy as np
import pandas as pd
import torch


def batches(x: np.ndarray, label: np.ndarray, size: int) -> list:
    """Windows with the label behind the features, and weights of one, as TSDatasetH's loader gives them."""
    found = []
    for start in range(0, len(x) - size + 1, size):
        part, target = x[start : start + size], label[start : start + size]
        column = np.repeat(target[:, None, None], part.shape[1], axis=1)
        found.append((torch.from_numpy(np.concatenate([part, column], axis=2)), torch.ones(size)))
    return found


def main() -> None:
    kind, given, state_file, out = sys.argv[1:]
    data = np.load(given)
    module = importlib.import_module(f"qlib.contrib.model.pytorch_{kind}")
    size, flat = int(data["batch_size"]), not kind.endswith("_ts")
    features = int(data["features"])
    model = getattr(module, kind.split("_")[0].upper())(
        d_feat=features, batch_size=size, lr=float(data["lr"]), GPU=-1, n_epochs=1
    )
    network = next(value for value in vars(model).values() if isinstance(value, torch.nn.Module))
    network.load_state_dict(torch.load(state_file, weights_only=True))

    x, label = torch.from_numpy(data["x"][:size]), torch.from_numpy(data["label"][:size])
    network.train()
    output = network(x)
    torch.nn.functional.mse_loss(output, label).backward()
    result = {f"grad.{name}": value.grad.clone().numpy() for name, value in network.named_parameters()}
    result["output"] = output.detach().numpy()
    network.zero_grad()

    if flat:
        np.random.shuffle = lambda rows: None  # the order of the samples is part of the input
        train = (pd.DataFrame(data["x"]), pd.DataFrame(data["label"]))
        valid = (pd.DataFrame(data["valid_x"]), pd.DataFrame(data["valid_label"]))
    else:
        train = (batches(data["x"], data["label"], size),)
        valid = (batches(data["valid_x"], data["valid_label"], size),)
    losses = []
    for _ in range(int(data["epochs"])):
        model.train_epoch(*train)
        losses.append(model.test_epoch(*valid)[0])
    result |= {f"state.{name}": value.numpy() for name, value in network.state_dict().items()}
    np.savez(out, valid_loss=np.array(losses), **result)


if __name__ == "__main__":
    main()
