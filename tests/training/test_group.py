"""Any number of gloo workers walks through the same training."""

from __future__ import annotations

import numpy as np
import pytest

from tests.training.member import fused_member, trajectory


@pytest.mark.slow
@pytest.mark.parametrize(("precision", "tolerance"), [("fp32", 1e-5), ("fp64", 1e-10)])
def test_one_two_and_four_workers_agree(precision: str, tolerance: float) -> None:
    """131 samples in batches of 65 leave a tail of one sample: three of four workers have none."""
    one, two, four = (trajectory(size, precision) for size in (1, 2, 4))
    np.testing.assert_allclose(two, one, atol=tolerance, rtol=tolerance)
    np.testing.assert_allclose(four, one, atol=tolerance, rtol=tolerance)


@pytest.mark.slow
def test_workers_with_fused_layers_agree_with_one_without() -> None:
    np.testing.assert_allclose(trajectory(2, "fp32", fused_member), trajectory(1, "fp32"), atol=1e-5, rtol=1e-5)
