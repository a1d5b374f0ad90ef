"""What each network costs: parameters, arithmetic, time and memory against the length of the window.

    python benchmarks/networks.py [--repeats K] [--short]

Prints the Markdown tables of docs/choosing-a-network.md, for the networks that are trained by gradient, with the
keys of their config in ``configs/`` (Alpha158's if there is one), 20 features, float32.

FLOPs: of one window's forward pass, a multiplication and an addition counting two, by torch's counter, which sees
matrix products and convolutions. Times: of one thread's CPU, so that a busy machine matters little; the fastest of
several passes over one date of 300 instruments. Kept: what autograd holds between forward and backward pass.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Any

import torch
import yaml
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from benchmarks._measure import ROOT, idle_share, parser, use_cores
from raybench.config.networks import NETWORKS
from raybench.feeds.batches import Batch
from raybench.models import build
from raybench.models.interface.inputs import Inputs, extra_inputs
from raybench.training.loop import objective

FEATURES = 20
INSTRUMENTS = 300  # one date of CSI 300
CONCEPTS = 30  # about as many as there are industries
LENGTHS = (20, 60, 240)
COLUMNS = {"type": "table", "columns": [f"F{number}" for number in range(FEATURES)]}
Row = dict[tuple[str, int], float]


def main() -> None:
    """Measure every network and print the tables."""
    given = parser(__doc__).parse_args()
    use_cores(1)
    repeats = 1 if given.short else given.repeats
    idle = idle_share()
    rows = {kind: measured_row(kind, repeats) for kind in NETWORKS if NETWORKS[kind].fitting == "gradient"}
    print(f"torch {torch.__version__}, 1 thread, {INSTRUMENTS} windows of {FEATURES} features; fastest of {repeats}; ")
    print(f"idle {idle} before, {idle_share()} after\n")
    header = ["network", "parameters", *(f"MFLOPs, W {length}" for length in LENGTHS)]
    print(table([*header, *(f"KiB kept, W {length}" for length in LENGTHS)], map(sizes, rows.items())))
    header = [f"{what} ms, W {length}" for what in ("score", "train") for length in LENGTHS]
    print(table(["network", *header], map(times, rows.items())))


def measured_row(kind: str, repeats: int) -> Row:
    """Measure one network at every length."""
    row: Row = {}
    for length in LENGTHS:
        torch.manual_seed(0)
        network = build(keys_of(kind), feature_set=COLUMNS, step_len=length)
        inputs = inputs_of(network, length)
        row["parameters", length] = sum(value.numel() for value in network.parameters())
        row["flops", length] = flops(network.eval(), inputs)
        row["score", length] = fastest(lambda: scored(network, inputs), repeats)  # noqa: B023 (called at once)
        network.train()
        row["train", length] = fastest(lambda: trained(network, inputs), repeats)  # noqa: B023
        row["kept", length] = kept_bytes(network, inputs)
    return row


def keys_of(kind: str) -> dict[str, Any]:
    """Return the ``model`` of the network's config; Alpha158's if it has one."""
    for name in (f"{kind}_alpha158", f"{kind}_alpha360"):
        path = ROOT / "configs" / f"{name}.yaml"
        if path.exists():
            model: dict[str, Any] = yaml.safe_load(path.read_text())["model"]
            return model
    return {"type": kind}


def inputs_of(network: nn.Module, length: int) -> Inputs:
    """Draw one date of windows, and what else the network is given."""
    shapes = {name: [size or CONCEPTS for size in shape] for name, shape in extra_inputs(network).items()}
    named = {name: torch.rand(INSTRUMENTS, *shape).round() for name, shape in shapes.items()}
    return Inputs(x_BWF=torch.randn(INSTRUMENTS, length, FEATURES), named=named)


def scored(network: nn.Module, inputs: Inputs) -> None:
    """Do what scoring does with a date."""
    with torch.inference_mode():
        inputs.call(network)


def trained(network: nn.Module, inputs: Inputs) -> None:
    """Do what a training step does, but for the optimizer."""
    network.zero_grad()
    batch = Batch(inputs=inputs, label_B=torch.zeros(len(inputs)), weight_B=None, count=float(len(inputs)))
    objective(network, inputs.call(network), batch).backward()


def fastest(work: Callable[[], None], repeats: int) -> float:
    """Milliseconds of CPU of the fastest of ``repeats``, after one that does not count."""
    work()
    seconds = []
    for _ in range(repeats):
        began = time.process_time()
        work()
        seconds.append(time.process_time() - began)
    return 1000 * min(seconds)


def flops(network: nn.Module, inputs: Inputs) -> float:
    """Count the FLOPs of a forward pass, per window."""
    # what is one fused operation to the counter (oneDNN's recurrent layers, attention, encoder layers) counts nothing
    fused = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with (
            torch.backends.mkldnn.flags(enabled=False),
            sdpa_kernel(SDPBackend.MATH),
            torch.no_grad(),
            FlopCounterMode(display=False) as counter,
        ):
            inputs.call(network)
    finally:
        torch.backends.mha.set_fastpath_enabled(fused)
    return counter.get_total_flops() / len(inputs)


def kept_bytes(network: nn.Module, inputs: Inputs) -> float:
    """Bytes that autograd keeps from the forward to the backward pass, per window; weights and inputs left out."""
    sizes: dict[int, int] = {}
    held = (inputs.x_BWF, *inputs.named.values(), *network.parameters(), *network.buffers())
    known = {value.untyped_storage().data_ptr() for value in held}

    def keep(value: torch.Tensor) -> torch.Tensor:
        storage = value.untyped_storage()
        if storage.data_ptr() not in known:
            sizes[storage.data_ptr()] = storage.nbytes()
        return value

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda value: value):
        made = inputs.call(network)  # held until the sum is made: what is freed could be counted again
    assert made is not None
    return sum(sizes.values()) / len(inputs)


def sizes(row: tuple[str, Row]) -> list[str]:
    """One row of the first table."""
    kind, found = row
    counts = {round(found["parameters", length]) for length in LENGTHS}
    number = f"{min(counts):,}" if len(counts) == 1 else f"{min(counts):,} to {max(counts):,}"
    flop = [f"{found['flops', length] / 1e6:.2f}" for length in LENGTHS]
    return [f"`{kind}`", number, *flop, *(f"{found['kept', length] / 1024:,.0f}" for length in LENGTHS)]


def times(row: tuple[str, Row]) -> list[str]:
    """One row of the second table."""
    kind, found = row
    return [f"`{kind}`", *(f"{found[what, length]:,.0f}" for what in ("score", "train") for length in LENGTHS)]


def table(header: list[str], rows: Iterable[list[str]]) -> str:
    """Lay out a Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


if __name__ == "__main__":
    main()
