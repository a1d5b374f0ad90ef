"""LightGBM: boosted trees on the flat window (Ke et al. 2017), by the library of that name (an extra).

They are fitted by one process, which holds all training samples: rows x F*W x 4 bytes, and a quarter of that
again in LightGBM's bins. 478,007 rows of Alpha158 are 302 MB, of Alpha360 688 MB. The trees are kept as
LightGBM's own text, its bytes in the buffer ``booster``, so a run holds no pickle.

Shapes: N samples, W rows of lookback, F features. NaN in features is LightGBM's missing value.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from importlib.util import find_spec
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from raybench.errors import RunError, TrainingError, first_line
from raybench.models.interface.direct import LabelledSamples
from raybench.models.layers.layout import as_flat_rows


class LightGBM(nn.Module):
    """Score windows [N, W, F] (or flat rows [N, F*W]) -> [N]; zero as long as there are no trees.

    ``parameters`` go to LightGBM by its own names. It runs on the CPU with as many threads as torch has.
    """

    def __init__(
        self, num_features: int, num_boost_round: int = 1000, early_stopping_rounds: int = 50, **parameters: Any
    ) -> None:
        super().__init__()
        if find_spec("lightgbm") is None:
            raise RunError(
                "model.type is lightgbm, which is not installed; pip install 'raybench[lightgbm]' "
                "or choose another model.type"
            )
        self.num_boost_round, self.early_stopping_rounds = num_boost_round, early_stopping_rounds
        self.parameters_given = parameters
        self.booster: Tensor
        self.register_buffer("booster", torch.zeros(0, dtype=torch.uint8))
        self._opened: Any = None

    def forward(self, x: Tensor) -> Tensor:
        rows_NK = as_flat_rows(x).detach().float().cpu().contiguous().numpy()
        if not len(self.booster) or not len(rows_NK):
            return x.new_zeros(len(x))
        score_N: Tensor = torch.from_numpy(self._trees().predict(rows_NK, num_threads=torch.get_num_threads()))
        return score_N.to(x)

    def fit_directly(
        self,
        train: Iterable[LabelledSamples],
        valid: Iterable[LabelledSamples],
        *,
        total: Callable[[Tensor], Tensor],
        seed: int,
    ) -> None:
        """Boost until the squared error on ``valid`` has not fallen for ``early_stopping_rounds``; keep the best."""
        import lightgbm

        given = {
            "objective": "mse",
            "verbosity": -1,
            "num_threads": torch.get_num_threads(),
            "deterministic": True,
            "force_col_wise": True,  # else a timing decides, and sums differ in their last bits
            "seed": seed % 2**31,
            **self.parameters_given,
        }
        try:
            rows = lightgbm.Dataset(**self._table(train, "train"))
            booster = lightgbm.train(
                given,
                rows,
                num_boost_round=self.num_boost_round,
                valid_sets=[lightgbm.Dataset(**self._table(valid, "valid"), reference=rows)],
                callbacks=[lightgbm.early_stopping(self.early_stopping_rounds, verbose=False)],
            )
        except lightgbm.basic.LightGBMError as error:
            raise TrainingError(f"lightgbm: {first_line(error)}; check model.*") from error
        if not booster.feature_importance().any():
            raise TrainingError(
                "lightgbm: no split was worth making, so all scores would be equal; lower model.lambda_l1, "
                "model.lambda_l2 or model.min_child_samples, which suit many more samples"
            )
        text = booster.model_to_string(num_iteration=booster.best_iteration)
        self.booster = torch.frombuffer(bytearray(text.encode()), dtype=torch.uint8).clone()
        self._opened = None

    def _table(self, samples: Iterable[LabelledSamples], segment: str) -> dict[str, Any]:
        """Return rows [S, K] (a list of parts, which LightGBM takes as one table), label [S] and weight [S]."""
        rows, labels, weights, weighted = [], [], [], False
        for part in samples:
            flat_BK = as_flat_rows(part.x_BWF)
            weight_B = torch.ones_like(part.label_B) if part.weight_B is None else part.weight_B
            keep_B = weight_B > 0.0
            if not bool(keep_B.any()):
                continue
            rows.append(flat_BK[keep_B].float().cpu().contiguous().numpy())
            labels.append(part.label_B[keep_B].float().cpu().numpy())
            weights.append(weight_B[keep_B].float().cpu().numpy())
            weighted = weighted or bool((weights[-1] != 1.0).any())
        if not rows:
            raise TrainingError(f"no sample of segment {segment} has a label; check data.label and data.segments")
        weight_S = np.concatenate(weights) if weighted else None
        return {"data": rows, "label": np.concatenate(labels), "weight": weight_S}

    def _trees(self) -> Any:
        """Read the trees; they stay open."""
        if self._opened is None:
            import lightgbm

            try:
                text = bytes(self.booster.cpu().numpy()).decode()
                self._opened = lightgbm.Booster(model_str=text)
            except (ValueError, lightgbm.basic.LightGBMError) as error:
                raise RunError(f"the weights hold no trees of lightgbm ({error}); train into another --out") from None
        return self._opened

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        """Take any length of text: the trees of another fit are not as many."""
        text = state_dict.get(f"{prefix}booster")
        if text is not None:
            self.booster = torch.zeros(text.shape, dtype=torch.uint8, device=self.booster.device)
        self._opened = None
        super()._load_from_state_dict(state_dict, prefix, *args)
