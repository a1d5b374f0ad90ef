"""Making a run out of weights that were trained elsewhere, so that they can score like our own."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime

from torch import Tensor, nn

from raybench.cluster import choice, ran_on
from raybench.cluster.jobs.ownership import claim, compare_data
from raybench.config import Config, load_config, with_absolute_paths
from raybench.config.identity import data_places
from raybench.config.load import Source
from raybench.config.panel_spec import PanelSpec
from raybench.config.size import count_parameters
from raybench.errors import RunError
from raybench.feature_sets.table import FeatureTable
from raybench.market.bars import Bars
from raybench.models import load_qlib_state
from raybench.models.weights import read_weights
from raybench.panel import Panel
from raybench.panel.build import build_panel, chain_of
from raybench.panel.size import panel_bytes
from raybench.progress import SILENT, Progress
from raybench.runs import artifact
from raybench.storage import files
from raybench.storage.claims import held
from raybench.storage.places import Kind, refuse_others
from raybench.training import checkpoints, needs
from raybench.training.network import build_model
from raybench.training.sources import IN_PROCESS_BYTES, open_data


def adopt(
    config: Source, *, weights: str, out: str, local: bool | None = None, progress: Progress = SILENT
) -> artifact.StoredRun:
    """Check ``weights`` against the network of ``config``, fit its processors on its train segment, store both.

    ``config`` is a path, a mapping or a Config. Takes Qlib's pickled state dicts (.pkl, .pt; tensors only) and
    safetensors. Doing it again gives the run that is there. RunError if the weights do not fit, or ``out``
    holds anything else than this adoption. ``local``: the processors are fitted in this process (True) or on Ray
    (False), to the same result; by default little data stays here, unless a cluster is named or runs here.
    """
    config = with_absolute_paths(load_config(config))
    out = files.open_location(out).uri
    refuse_others(out, Kind.RUN, option="--out", files=True)
    state = read_weights(weights)
    digest = hashlib.sha256(files.read_bytes(weights)).hexdigest()
    with held(out, what="adopt", say=progress.note):
        if files.exists(files.join(out, checkpoints.FOLDER)):
            raise RunError(f"{out} holds a training; choose another --out")
        if claim(out, config, resume=True):
            run = _adopted_before(out, weights, digest)
            compare_data(run, config, progress.note)
            return run
        began = datetime.now(UTC)
        spec = PanelSpec.of(config)
        bars, features = open_data(spec)
        model = _fitting(config, chain_of(spec, features, None).columns, state, weights)
        panel = _fitted_panel(config, bars, features, local, progress)
        artifact.begin_run(out, config)
        return artifact.write_run(
            out,
            config=config,
            weights=model.state_dict(),
            processors=panel.processors,
            second_processors=panel.second_processors,
            history=[],
            best_epoch=0,
            began=began,
            facts={
                "adopted_from": {"name": files.name_of(weights), "sha256": digest},
                "data_fingerprint": panel.fingerprint,
                needs.KEY: needs.needs_of(panel, spec, bars, features).to_manifest(),
                "model": config.model.type,
                "parameters": count_parameters(config, len(panel.processors.columns), model.state_dict()),
                "samples": panel.counts,
            },
        )


def _adopted_before(out: str, weights: str, digest: str) -> artifact.StoredRun:
    """Return the run at ``out`` if it was made of these very weights."""
    run = artifact.load_run(out, trust=True)  # its configuration is the one that was given
    origin = run.manifest.get("adopted_from")
    if origin is None:
        raise RunError(f"{out} holds a run that was trained here; choose another --out")
    if origin["sha256"] != digest:
        raise RunError(f"{out} was adopted from {origin['name']}, which is not {weights}; choose another --out")
    return run


def _fitting(config: Config, columns: tuple[str, ...], state: Mapping[str, Tensor], weights: str) -> nn.Module:
    """Build the network and put the weights in; RunError before any data is read if they do not fit."""
    for name, value in state.items():
        if not bool(value.isfinite().all()):
            raise RunError(f"{weights}: {name} holds NaN or infinite numbers; want the weights of a finished training")
    model = build_model(config, columns)
    try:
        load_qlib_state(model, state)
    except RunError as error:
        raise RunError(f"{weights}: {error}") from None
    return model


def _fitted_panel(
    config: Config, bars: Bars | None, features: FeatureTable | None, local: bool | None, progress: Progress
) -> Panel:
    spec = PanelSpec.of(config)
    if choice.here(local, little=panel_bytes(spec, bars, features) <= IN_PROCESS_BYTES):
        ran_on.here(progress)
        return build_panel(spec, bars, features, segments=("train",), progress=progress)
    from raybench.cluster.fanout import fanout
    from raybench.cluster.session import session

    with session(places=data_places(config), progress=progress):
        return build_panel(spec, bars, features, run=fanout, segments=("train",), progress=progress)
