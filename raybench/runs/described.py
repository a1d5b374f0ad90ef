"""What a report says of a run at its foot: what it is, what it learned, from when, and when it was made."""

from __future__ import annotations

from raybench.reports.text import numbered
from raybench.runs.artifact import StoredRun


def described(run: StoredRun) -> dict[str, str]:
    """Name and value of what a reader would otherwise look up in the run's configuration and manifest."""
    data, train, manifest = run.config.data, run.config.train, run.manifest
    segments = ", ".join(f"{name} {first} to {last}" for name, (first, last) in data.segments.items())
    epochs, best = manifest.get("epochs"), manifest.get("best_epoch")
    made = manifest.get("finished")
    versions = manifest.get("versions")
    by = ", ".join(f"{name} {version}" for name, version in versions.items()) if isinstance(versions, dict) else ""
    columns = data.feature_set.columns
    return {
        "Run": f"{run.uri} ({run.run_id})",
        "Network": f"{run.config.model.type}, window of {data.step_len}",
        "Features": data.feature_set.type
        + (f", {numbered(len(columns), 'column|columns')}" if columns is not None else ""),
        "Universe": data.universe,
        "Learned label": data.label,
        "Segments": segments,
        "Seed": str(train.seed),
        "Epochs": f"{epochs}, the best of them {best}" if epochs else "none: the weights came from elsewhere",
        **({"Trained": f"{made}{' by ' if by else ''}{by}"} if made else {}),
    }
