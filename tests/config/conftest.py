"""A small valid configuration."""

from __future__ import annotations

from typing import Any

import pytest


@pytest.fixture
def tree() -> dict[str, Any]:
    return {
        "data": {
            "bars": "bars",
            "segments": {
                "train": ["2010-01-01", "2014-12-31"],
                "valid": ["2015-01-01", "2016-12-31"],
                "test": ["2017-01-01", "2020-08-01"],
            },
        },
        "model": {"type": "gru"},
    }
