"""What networks make of the rest of a configuration."""

from __future__ import annotations

import pytest

from raybench.config import load_config
from raybench.errors import ConfigError
from tests.config.common.test_dates import tree


def test_tcn_of_qlib_needs_as_many_rows_as_features() -> None:
    columns = ["data.feature_set.columns=[KLEN, KLOW, ROC60]"]
    load_config(tree("tcn"), columns)
    load_config(tree("tcn", recipe="qlib"), [*columns, "data.step_len=3"])
    with pytest.raises(ConfigError, match=r"data\.step_len: .* as many as features \(3\), got 20"):
        load_config(tree("tcn", recipe="qlib"), columns)


def test_keys_without_effect_under_a_recipe() -> None:
    config = load_config(tree("alstm", recipe="qlib"), ["model.rnn_type=LSTM"])
    sizes = [config.model.under(recipe).parameter_count(20, 20) for recipe in ("raybench", "qlib")]
    assert sizes == [70_145, 53_505]
