"""What is told of GPUs that are not there, are hidden, or compute something else."""

from __future__ import annotations

import os
import shutil
from typing import Any

import pytest
import torch

from raybench.cluster.health import gpu


@pytest.fixture
def without_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(shutil, "which", lambda _: None)
    monkeypatch.setattr(os.path, "exists", lambda _: False)


@pytest.mark.usefixtures("without_gpu")
def test_none_is_no_fault() -> None:
    assert (gpu.gpus().ok, gpu.gpus().said) == (True, "none: trainings use the CPU")


@pytest.mark.usefixtures("without_gpu")
def test_a_driver_and_a_torch_without_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda _: "/usr/bin/nvidia-smi")
    monkeypatch.setattr(torch.version, "cuda", None)
    found = gpu.gpus()
    assert not found.ok
    assert "is built for the CPU alone" in found.said
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert gpu.gpus().ok  # hidden on purpose


def test_a_card_that_computes_something_else(monkeypatch: pytest.MonkeyPatch) -> None:
    class Wrong:
        def __init__(self, value: torch.Tensor) -> None:
            self.value = value

        def __matmul__(self, other: Wrong) -> torch.Tensor:
            return self.value @ other.value * 1.5

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(gpu, "_card", lambda _: "Card (8 GB)")
    monkeypatch.setattr(torch.Tensor, "to", lambda self, *_: Wrong(self))
    found = gpu.gpus()
    assert not found.ok
    assert found.said.startswith("Card (8 GB): a product of matrices differs from the CPU's by 0.5")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_the_cards_of_this_machine() -> None:
    found: Any = gpu.gpus()
    assert found.ok, found.said
    assert "NCCL" in found.said
