"""Taking a panel apart for the object store, and putting it together again without a copy."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy.typing as npt

from raybench.market.concepts import Memberships
from raybench.panel.types import Panel, Samples, Segment
from raybench.panel.windows import WindowSource, from_arrays
from raybench.processors import FittedProcessors
from raybench.storage.arrays import Arrays, Spec


def pack(panel: Panel) -> tuple[Spec, Arrays]:
    """Take a panel apart: a small picklable spec, and arrays for the object store, each buffer once."""
    arrays: Arrays = {}
    names: dict[tuple[Any, ...], str] = {}

    def share(parts: Arrays) -> dict[str, str]:
        return {key: _share(array, arrays, names) for key, array in parts.items()}

    segments = {
        name: {
            "source": segment.source.spec(),
            "source_arrays": share(segment.source.arrays()),
            "samples": share(segment.samples.arrays()),
            "memberships": None if segment.memberships is None else share(segment.memberships.arrays()),
            "second": None if segment.second is None else segment.second.spec(),
            "second_arrays": None if segment.second is None else share(segment.second.arrays()),
        }
        for name, segment in panel.segments.items()
    }
    spec: Spec = {
        "instruments": panel.instruments,
        "dates": share({"dates": panel.dates})["dates"],
        "segments": segments,
        "columns": panel.columns,
        "processors": panel.processors.to_json(),
        "fingerprint": panel.fingerprint,
        "second_processors": None if panel.second_processors is None else panel.second_processors.to_json(),
    }
    return spec, arrays


def _share(array: npt.NDArray[Any], arrays: Arrays, names: dict[tuple[Any, ...], str]) -> str:
    """The name under which an array is shared: the same memory seen in the same way has one name."""
    view = array.__array_interface__
    key = (view["data"][0], array.shape, array.strides, view["typestr"])
    if key not in names:
        names[key] = f"a{len(names)}"
        arrays[names[key]] = array
    return names[key]


def unpack(spec: Spec, arrays: Arrays) -> Panel:
    """Put a panel together over arrays that may be read-only; nothing is copied.

    Segments that had one source have one again, so that it is brought to a device once.
    """
    sources: dict[str, WindowSource] = {}

    def fetch(keys: Mapping[str, str]) -> Arrays:
        return {name: arrays[key] for name, key in keys.items()}

    def source_of(source: Spec, keys: Mapping[str, str]) -> WindowSource:
        same = json.dumps([source, keys], sort_keys=True, default=str)
        if same not in sources:
            sources[same] = from_arrays(source, fetch(keys))
        return sources[same]

    return Panel(
        instruments=tuple(spec["instruments"]),
        dates=arrays[spec["dates"]],
        segments={
            name: Segment(
                source=source_of(part["source"], part["source_arrays"]),
                samples=Samples(**fetch(part["samples"])),
                memberships=None
                if part["memberships"] is None
                else Memberships.from_arrays(fetch(part["memberships"])),
                second=None if part["second"] is None else source_of(part["second"], part["second_arrays"]),
            )
            for name, part in spec["segments"].items()
        },
        columns=tuple(spec["columns"]),
        processors=FittedProcessors.from_json(spec["processors"]),
        fingerprint=spec["fingerprint"],
        second_processors=None
        if spec["second_processors"] is None
        else FittedProcessors.from_json(spec["second_processors"]),
    )
