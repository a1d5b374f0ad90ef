"""Making a run out of weights that were trained elsewhere, so that they can score like our own."""

from __future__ import annotations

import hashlib
import time

from raybench.cluster.preparation import on_ray, open_data
from raybench.cluster.session import session
from raybench.cluster.training import claim
from raybench.cluster.worker import build_model
from raybench.config import Config, with_absolute_paths
from raybench.data import storage
from raybench.data.panel import build_panel
from raybench.models import load_qlib_state
from raybench.models.weights import read_weights
from raybench.progress import SILENT, Progress
from raybench.train import artifact


def adopt(config: Config, *, weights: str, out: str, progress: Progress = SILENT) -> artifact.Run:
    """Check ``weights`` against the network of ``config``, fit its processors on its train segment, store both.

    Takes Qlib's pickled state dicts (.pkl, .pt; tensors only) and safetensors. RunError if they do not fit.
    """
    config = with_absolute_paths(config)
    out = storage.open_location(out).uri
    state = read_weights(weights)
    if claim(out, config, resume=True):
        return artifact.load_run(out)
    began = time.time()
    with session(progress=progress):
        bars, features = open_data(config)
        panel = build_panel(config, bars, features, run=on_ray, segments=("train",), progress=progress)
    model = build_model(config, panel.columns)
    load_qlib_state(model, state)
    artifact.begin_run(out, config)
    return artifact.write_run(
        out,
        config=config,
        weights=model.state_dict(),
        processors=panel.processors,
        history=[],
        best_epoch=0,
        facts={
            "adopted_from": {
                "name": storage.name_of(weights),
                "sha256": hashlib.sha256(storage.read_bytes(weights)).hexdigest(),
            },
            "data_fingerprint": panel.fingerprint,
            "model": config.model.type,
            "parameters": sum(value.numel() for value in model.state_dict().values()),
            "samples": panel.counts,
            "seconds": round(time.time() - began, 3),
        },
    )
