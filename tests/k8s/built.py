"""What `kubectl kustomize` makes of the folders of k8s/, and the schemas that it has to fit."""

from __future__ import annotations

import copy
import shutil
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from jsonschema import Draft202012Validator

K8S = Path(__file__).parents[2] / "k8s"
OVERLAYS = sorted(path.name for path in (K8S / "overlays").iterdir())
VERSION = "1.32"  # of Kubernetes, the oldest that docs/kubernetes.md names
Manifest = dict[str, Any]


def built(folder: Path | str) -> list[Manifest]:
    """Build a folder, one of the overlays by its name; skips without kubectl."""
    return copy.deepcopy(_built(Path(folder) if isinstance(folder, Path) else K8S / "overlays" / folder))


@cache
def _built(folder: Path) -> list[Manifest]:
    if shutil.which("kubectl") is None:
        pytest.skip("needs kubectl, whose `kubectl kustomize` builds the manifests")
    done = subprocess.run(["kubectl", "kustomize", str(folder)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return [one for one in yaml.load_all(done.stdout, yaml.CSafeLoader) if one]


def of_kind(kind: str, manifests: list[Manifest]) -> list[Manifest]:
    return [one for one in manifests if one["kind"] == kind]


def is_rays(manifest: Manifest) -> bool:
    return str(manifest["apiVersion"]).startswith("ray.io/")


def native_faults(manifest: Manifest) -> list[str]:
    """What is wrong with a manifest of Kubernetes itself, unknown fields included."""
    try:
        kubernetes_validate.validate(manifest, VERSION, strict=True)
    except kubernetes_validate.ValidationError as error:
        return [error.message]
    return []


def ray_faults(manifest: Manifest, schemas: Path) -> list[str]:
    """What is wrong with a manifest of KubeRay, unknown fields included."""
    validator = _validator(schemas / f"ray.io_{manifest['kind'].lower()}s.yaml")
    return [f"{error.json_path}: {error.message}" for error in validator.iter_errors(manifest)]


@cache
def _validator(file: Path) -> Draft202012Validator:
    versions = yaml.load(file.read_text(), yaml.CSafeLoader)["spec"]["versions"]
    (schema,) = [one["schema"]["openAPIV3Schema"] for one in versions if one["name"] == "v1"]
    _close(schema)
    return Draft202012Validator(schema)


def _close(schema: Any) -> None:
    """Let no schema take fields that it does not name, unless it says that it does."""
    if isinstance(schema, list):
        for each in schema:
            _close(each)
    if not isinstance(schema, dict):
        return
    open_on_purpose = schema.get("x-kubernetes-preserve-unknown-fields") or schema.get("x-kubernetes-embedded-resource")
    if isinstance(schema.get("properties"), dict) and not open_on_purpose and "additionalProperties" not in schema:
        schema["additionalProperties"] = False
    for each in schema.values():
        _close(each)


def pods(value: Any) -> Iterator[Manifest]:
    """Every pod template in a manifest: its metadata and its spec."""
    if isinstance(value, dict):
        if isinstance(value.get("spec"), dict) and "containers" in value["spec"]:
            yield value
        for each in value.values():
            yield from pods(each)
    if isinstance(value, list):
        for each in value:
            yield from pods(each)


def ray_job(manifest: Manifest) -> Manifest:
    """The specification of a RayJob in a RayJob or a RayCronJob."""
    spec: Manifest = manifest["spec"]
    return spec["jobTemplate"] if manifest["kind"] == "RayCronJob" else spec
